//! What agents fetch: the executor's program and each book's files, by HTTP, under a path that nobody can guess, for as long
//! as the run lasts. Gives what it was told to give, lists nothing, and knows nothing else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::remote::random_hex;

const CHUNK_BYTES: usize = 256 * 1024;
/// How many are given files at once.
const CONNECTIONS_MAX: usize = 256;
/// How long somebody may take to say what they want, …
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// … and to take it.
const CONNECTION_LIMIT: Duration = Duration::from_secs(600);

/// Gives files to agents; ends when this is dropped.
#[derive(Debug)]
pub(super) struct FileServer {
    /// `http://host:port/SECRET`
    base: String,
    secret: String,
    files: Arc<Mutex<HashMap<String, PathBuf>>>,
    task: tokio::task::JoinHandle<()>,
}

impl FileServer {
    /// A server that gives nothing yet, on an address by which this machine reaches `master` (`host:port`), or by which
    /// `advertise` (`host` or `host:port`) says that it can be reached.
    ///
    /// Fails, saying why, if there is no such address or port.
    pub(super) async fn start(master: &str, advertise: Option<&str>) -> Result<Self, String> {
        let (named, port) = match advertise {
            Some(text) => match text.rsplit_once(':') {
                Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
                    let port =
                        port.parse().map_err(|_| format!("--advertise {text}: `{port}` is no port"))?;
                    (Some(host.to_owned()), port)
                }
                _ => (Some(text.to_owned()), 0),
            },
            None => (None, 0),
        };
        let bound_to = match &named {
            // An address of this machine's is bound to; what only stands for it elsewhere, as behind a NAT, cannot be.
            Some(host) => own_one_of(host).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            None => own_address(master).map_err(|error| {
                format!("cannot find an address of this machine that agents reach: {error}; name one with --advertise")
            })?,
        };
        let failed =
            |error: io::Error| format!("cannot give files to the agents on {bound_to}, port {port}: {error}");
        let listener = TcpListener::bind(SocketAddr::new(bound_to, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let authority = match &named {
            Some(host) => format!("{host}:{}", address.port()),
            None => address.to_string(),
        };
        let secret = format!("{}{}", random_hex()?, random_hex()?);
        let files: Arc<Mutex<HashMap<String, PathBuf>>> = Arc::default();
        let served = Arc::clone(&files);
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let task = tokio::spawn(async move {
            loop {
                // Whoever comes when all are taken waits for one to end, which each does.
                let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                // Too many open files is a trouble that passes.
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let served = Arc::clone(&served);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let answer = answer(&request, &served);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    // An agent that breaks off asks again, or tells of it.
                    let serving = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_LIMIT)
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = tokio::time::timeout(CONNECTION_LIMIT, serving).await;
                    drop(place);
                });
            }
        });
        Ok(Self { base: format!("http://{authority}/{secret}"), secret, files, task })
    }

    /// Gives this file under this name from now on. Answers with its URI.
    pub(super) fn give(&self, name: &str, file: PathBuf) -> String {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(format!("/{}/{name}", self.secret), file);
        format!("{}/{name}", self.base)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One of this machine's addresses that a name stands for.
fn own_one_of(host: &str) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // The own name often means the loopback, where nobody else would reach us.
    let is_literal = host.parse::<IpAddr>().is_ok();
    let addresses = std::net::ToSocketAddrs::to_socket_addrs(&(host, 0)).ok()?.map(|address| address.ip());
    let mut fitting = addresses.filter(|address| is_literal || !address.is_loopback());
    fitting.find(|address| std::net::TcpListener::bind((*address, 0)).is_ok())
}

/// The address from which packets to `server` go. None is sent.
fn own_address(server: &str) -> io::Result<IpAddr> {
    let mut error = io::Error::other(format!("{server} has no address"));
    for address in std::net::ToSocketAddrs::to_socket_addrs(server)? {
        let any: SocketAddr = if address.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
        match UdpSocket::bind(any)
            .and_then(|socket| socket.connect(address).and_then(|()| socket.local_addr()))
        {
            Ok(own) => return Ok(own.ip()),
            Err(why) => error = why,
        }
    }
    Err(error)
}

fn answer(request: &Request<Incoming>, files: &Mutex<HashMap<String, PathBuf>>) -> Response<Content> {
    let empty = |status: StatusCode| {
        let mut response = Response::new(Content::default());
        *response.status_mut() = status;
        response
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = files.lock().unwrap_or_else(PoisonError::into_inner).get(request.uri().path()).cloned();
    let Some(path) = path else { return empty(StatusCode::NOT_FOUND) };
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let Ok((length, file)) = opened else { return empty(StatusCode::INTERNAL_SERVER_ERROR) };
    let file = (request.method() == Method::GET).then_some(file);
    let mut response = Response::new(Content { file, left: length });
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/octet-stream"));
    response
}

/// What is left of a file to be given; nothing without one.
#[derive(Debug, Default)]
struct Content {
    file: Option<File>,
    left: u64,
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let Some(file) = self.file.as_mut().filter(|_| left > 0) else { return Poll::Ready(None) };
        let mut chunk = vec![0; left.min(CHUNK_BYTES)];
        Poll::Ready(Some(match file.read(&mut chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                chunk.truncate(count);
                self.left -= count as u64;
                Ok(Frame::data(chunk.into()))
            }
            Err(error) => Err(error),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.file.is_none() || self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.file.is_some() { self.left } else { 0 })
    }
}
