//! Who leads: a master's address as it is written on the command line, and the leader that ZooKeeper knows.
//!
//! Mesos' masters keep a node `json.info_NUMBER` each below the path that they were given; the lowest number leads. Source:
//! Mesos' documentation, "High availability framework guide".

use std::future::Future;
use std::net::ToSocketAddrs;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;
use tokio_zookeeper::ZooKeeper;

use super::{Next, WireError};

/// The port of a master that is named without one.
const MASTER_PORT: u16 = 5050;
const ZOOKEEPER_PORT: u16 = 2181;
const ZOOKEEPER_LIMIT: Duration = Duration::from_secs(10);
const INFO_PREFIX: &str = "json.info_";

/// `--master`, as far as it names a Mesos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterAddress {
    /// A master, leading or not: `http://host:port`.
    Fixed(String),
    /// Whom ZooKeeper names.
    ZooKeeper {
        /// `host:port` of its servers.
        servers: Vec<String>,
        /// The path below which the masters stand.
        path: String,
        /// `http`, or `https`.
        scheme: &'static str,
    },
}

impl MasterAddress {
    /// Reads `host:port`, `http://…`, `https://…` or `zk://host:port,…/path`. `secure` says whether a leader that ZooKeeper
    /// names is spoken to by https. Fails with what is wrong with it.
    pub fn parse(text: &str, secure: bool) -> Result<Self, String> {
        const SHAPE: &str =
            "write `local`, `host:port`, `http://host:port`, `https://host:port` or `zk://host:port,…/path`";
        let wrong = |why: &str| Err(format!("`{text}` is no address of a Mesos master: {why}. {SHAPE}"));
        let with_port =
            |server: &str, port: u16| match server.strip_prefix('[').unwrap_or(server).rsplit_once(':') {
                Some((_, digits)) if digits.parse::<u16>().is_ok_and(|port| port != 0) => {
                    Some(server.to_owned())
                }
                _ if server.contains(':') && !server.ends_with(']') => None,
                _ => Some(format!("{server}:{port}")),
            };
        let usable = |server: &str| {
            !server.is_empty()
                && !server.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@\\".contains(c))
        };
        if let Some(rest) = text.strip_prefix("zk://") {
            let Some((servers, path)) = rest.split_once('/') else {
                return wrong("it has no path behind the servers");
            };
            if servers.contains('@') {
                return wrong("a user and password for ZooKeeper are not supported");
            }
            let servers: Option<Vec<String>> = servers
                .split(',')
                .map(|server| {
                    Some(server)
                        .filter(|server| usable(server))
                        .and_then(|server| with_port(server, ZOOKEEPER_PORT))
                })
                .collect();
            let Some(servers) = servers else {
                return wrong("one of its servers is no `host:port`");
            };
            let path = format!("/{}", path.trim_matches('/'));
            let scheme = if secure { "https" } else { "http" };
            return Ok(Self::ZooKeeper { servers, path, scheme });
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            Some((scheme, _)) => return wrong(&format!("`{scheme}` is none of its schemes")),
            None => ("http", text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if !usable(rest) {
            return wrong("what it names is no `host:port`");
        }
        match with_port(rest, MASTER_PORT) {
            Some(authority) => Ok(Self::Fixed(format!("{scheme}://{authority}"))),
            None => wrong("its port is none"),
        }
    }
}

/// Finds the leader.
pub struct Leader {
    address: MasterAddress,
    session: Option<Session>,
}

struct Session {
    /// Kept, for what it watches is watched only while it lives.
    _zookeeper: ZooKeeper,
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Leader {
    /// Knows nothing yet.
    pub fn new(address: MasterAddress) -> Self {
        Self { address, session: None }
    }

    /// The base of the leader's URLs, as far as is known. Asks ZooKeeper anew each time.
    ///
    /// Fails with [`Next::Later`] if no server of ZooKeeper answers, or no master stands there.
    pub async fn find(&mut self) -> Result<String, WireError> {
        let (servers, path, scheme) = match &self.address {
            MasterAddress::Fixed(base) => return Ok(base.clone()),
            MasterAddress::ZooKeeper { servers, path, scheme } => (servers, path, scheme),
        };
        self.session = None;
        let mut errors = Vec::new();
        for server in servers {
            match tokio::time::timeout(ZOOKEEPER_LIMIT, ask(server, path)).await {
                Ok(Ok((authority, session))) => {
                    self.session = Some(session);
                    return Ok(format!("{scheme}://{authority}"));
                }
                Ok(Err(error)) => errors.push(format!("ZooKeeper at {server}: {error}")),
                Err(_) => errors.push(format!("ZooKeeper at {server} does not answer")),
            }
        }
        Err(WireError::new(Next::Later, errors.join("; ")))
    }

    /// Waits until another master may lead than the one that was found, or until ZooKeeper, which would know, is lost.
    /// For a master that is named outright that never comes.
    pub async fn changed(&mut self) {
        match &mut self.session {
            Some(session) => {
                session.changed.as_mut().await;
                self.session = None;
            }
            None => std::future::pending().await,
        }
    }
}

async fn ask(server: &str, path: &str) -> Result<(String, Session), String> {
    let mut addresses = server.to_socket_addrs().map_err(|error| error.to_string())?;
    let address = addresses.next().ok_or("its name has no address")?;
    let (zookeeper, _default_watcher) =
        ZooKeeper::connect(&address).await.map_err(|error| error.to_string())?;
    let (changed, children) = zookeeper
        .with_watcher()
        .get_children(path)
        .await
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("there is no {path}"))?;
    let first = children
        .iter()
        .filter_map(|name| Some((name.strip_prefix(INFO_PREFIX)?.parse::<u64>().ok()?, name)))
        .min()
        .ok_or_else(|| format!("no master leads below {path}"))?;
    let (data, _) = zookeeper
        .get_data(&format!("{}/{}", path.trim_end_matches('/'), first.1))
        .await
        .map_err(|error| error.to_string())?
        .ok_or("the leader has just gone")?;
    let authority =
        authority_of(&data).ok_or_else(|| format!("{} does not say where the master is", first.1))?;
    // It comes when the masters change, and fails when the session is lost.
    let changed = Box::pin(async move { drop(changed.await) });
    Ok((authority, Session { _zookeeper: zookeeper, changed }))
}

/// `host:port` of a master's MasterInfo in JSON.
fn authority_of(data: &[u8]) -> Option<String> {
    let info: Value = serde_json::from_slice(data).ok()?;
    let address = &info["address"];
    let port = address["port"].as_u64().or_else(|| info["port"].as_u64())?;
    let host = address["ip"]
        .as_str()
        .or_else(|| address["hostname"].as_str())
        .or_else(|| info["hostname"].as_str())?;
    Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        fn check(text: &str, want: Result<&str, &str>) {
            let got = MasterAddress::parse(text, false).map(|address| match address {
                MasterAddress::Fixed(base) => base,
                MasterAddress::ZooKeeper { servers, path, .. } => format!("{} {path}", servers.join(" ")),
            });
            let got = got.as_deref().map_err(|error| {
                error
                    .split_once("master: ")
                    .and_then(|(_, why)| why.split_once(". write"))
                    .map_or(error.as_str(), |(why, _)| why)
            });
            assert_eq!(got, want, "for {text:?}");
        }
        check("a", Ok("http://a:5050"));
        check("127.0.0.1:5051", Ok("http://127.0.0.1:5051"));
        check("https://m.example:443/", Ok("https://m.example:443"));
        check("http://[::1]:5050", Ok("http://[::1]:5050"));
        check("[::1]", Ok("http://[::1]:5050"));
        check("zk://a:1,b/mesos/", Ok("a:1 b:2181 /mesos"));
        check("zk://a/", Ok("a:2181 /"));
        check("", Err("what it names is no `host:port`"));
        check("a:x", Err("its port is none"));
        check("a:0", Err("its port is none"));
        check("a b:1", Err("what it names is no `host:port`"));
        check("ftp://a", Err("`ftp` is none of its schemes"));
        check("zk://a:1", Err("it has no path behind the servers"));
        check("zk://a,/x", Err("one of its servers is no `host:port`"));
        check("zk://u:p@a/x", Err("a user and password for ZooKeeper are not supported"));
    }

    #[test]
    fn a_master_in_zookeeper() {
        fn check(info: &str, want: Option<&str>) {
            assert_eq!(authority_of(info.as_bytes()).as_deref(), want);
        }
        check(
            r#"{"address":{"hostname":"m","ip":"10.0.0.1","port":5050},"hostname":"m","ip":16777226,"port":5050}"#,
            Some("10.0.0.1:5050"),
        );
        check(r#"{"address":{"ip":"::1","port":5}}"#, Some("[::1]:5"));
        check(r#"{"hostname":"m","port":5050}"#, Some("m:5050"));
        check(r#"{"hostname":"m"}"#, None);
        check("not json", None);
    }
}
