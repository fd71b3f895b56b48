//! Fetching a file of a book by its URL. Touches the network, by the proxy that the environment names, and the file system.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::mesos::causes;

/// How long a server may take to be reached, and then to send the next bytes.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Puts what is at this URL (http or https) into a file. Redirects are followed.
/// Fails, naming the URL, if it is not there, or the server falls silent for half a minute; and if the disk is full.
pub fn fetch(url: &str, to: &Path) -> io::Result<()> {
    let failed = |why: String| io::Error::other(format!("cannot fetch {url}: {why}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .connect_timeout(SILENCE_MAX)
            .read_timeout(SILENCE_MAX)
            .user_agent(concat!("pisaura/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed(causes(&error)))?;
        let mut answer =
            client.get(url).send().await.map_err(|error| failed(causes(&error.without_url())))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(failed(format!("the server says {status}")));
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", to.display()));
        let mut file = File::create(to).map_err(named)?;
        while let Some(bytes) = answer.chunk().await.map_err(|error| failed(causes(&error.without_url())))? {
            file.write_all(&bytes).map_err(named)?;
        }
        Ok(())
    })
}
