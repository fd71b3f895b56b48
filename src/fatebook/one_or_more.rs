//! A list that is never empty: most cases break one host, and some several. Pure.

use serde::{Deserialize, Serialize};

/// One thing, and perhaps more of the same. Written down it is as the first alone would be, with the others beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOrMore<T> {
    #[serde(flatten)]
    first: T,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    others: Vec<T>,
}

impl<T> OneOrMore<T> {
    /// One alone.
    pub fn one(first: T) -> Self {
        Self { first, others: Vec::new() }
    }

    /// All of these; `None` if there are none.
    pub fn of(all: Vec<T>) -> Option<Self> {
        let mut all = all.into_iter();
        Some(Self { first: all.next()?, others: all.collect() })
    }

    /// The first of them, which stands for all where only one can be named.
    pub fn first(&self) -> &T {
        &self.first
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// Whether there is more than one.
    pub fn is_several(&self) -> bool {
        !self.others.is_empty()
    }

    /// As many of something else.
    pub fn map<U>(&self, mut change: impl FnMut(&T) -> U) -> OneOrMore<U> {
        OneOrMore { first: change(&self.first), others: self.others.iter().map(change).collect() }
    }

    /// The same, unless one of them cannot be changed. Fails with why not.
    pub fn try_map<U, E>(&self, mut change: impl FnMut(&T) -> Result<U, E>) -> Result<OneOrMore<U>, E> {
        let first = change(&self.first)?;
        Ok(OneOrMore { first, others: self.others.iter().map(change).collect::<Result<_, _>>()? })
    }
}
