//! Digits that stand for a text, names that a file can have, and which characters are shown as they are. Pure.

/// Sixteen digits for a text: the same in every run, and of no meaning (FNV-1a).
pub fn digits_of(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// A name as a file can have it: what a person still recognizes, and digits that tell apart what was replaced or cut off.
pub fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_@.".contains(c) { c } else { '_' };
    let shown: String = name.chars().map(plain).take(60).collect();
    format!("{shown}-{}", digits_of(name))
}

/// Whether a character is shown as it is: it controls nothing, is not invisible, and does not turn a text's direction around.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !crate::fatebook::is_hidden(c)
}
