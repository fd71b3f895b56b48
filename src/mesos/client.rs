//! HTTP as Mesos speaks it: a SUBSCRIBE whose answer never ends, and calls on another connection, both in protobuf. Decides
//! what each answer means for what is to be done next.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Certificate, RequestBuilder, Response, StatusCode};

use super::recordio::Decoder;
use super::{Next, WireError, causes};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const STREAM_ID: &str = "Mesos-Stream-Id";
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Masters that name each other as the leader for ever are not followed for ever.
const REDIRECTS_MAX: usize = 9;
/// How much of what a peer says about an error is told, and read.
const SAID_CHARS_MAX: usize = 500;
const SAID_READ_MAX: usize = 64 * 1024;

/// How a peer is made sure of us, and we of it.
#[derive(Clone, Default)]
pub struct Security {
    /// Who we are, and the secret that shows it.
    pub credentials: Option<(String, String)>,
    /// A token that shows who we are, in place of credentials.
    pub bearer: Option<String>,
    /// A file with certificates (PEM) that are trusted beside the system's own.
    pub certificates: Option<PathBuf>,
}

/// Shows no secret.
impl std::fmt::Debug for Security {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Security").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

/// Speaks to masters or agents.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    security: Security,
    path: String,
}

/// The events of a subscription.
#[derive(Debug)]
pub struct Subscription {
    answer: Response,
    decoder: Decoder,
    /// `http://host:port` of whoever took us in.
    pub base: String,
    /// What has to be said in every call.
    pub stream_id: Option<String>,
}

impl Client {
    /// A client of the API at this path. Fails, saying why, if the certificates cannot be read.
    pub fn new(path: &str, security: Security) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            // A cluster is not reached by way of the proxy to the world.
            .no_proxy()
            .user_agent(concat!("pisaura/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &security.certificates {
            let failed = |why: String| format!("cannot use the certificates in {}: {why}", file.display());
            let pem = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
            let all = Certificate::from_pem_bundle(&pem).map_err(|error| failed(causes(&error)))?;
            if all.is_empty() {
                return Err(failed("there is none in it".to_owned()));
            }
            builder = all.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        let http = builder.build().map_err(|error| format!("cannot speak HTTP: {}", causes(&error)))?;
        Ok(Self { http, security, path: path.to_owned() })
    }

    /// Subscribes with this call at `http://host:port`, following the leader's trail.
    pub async fn subscribe(&self, base: &str, call: Vec<u8>) -> Result<Subscription, WireError> {
        let mut base = base.to_owned();
        for _ in 0..REDIRECTS_MAX {
            let request = self.request(&base, call.clone()).header(ACCEPT, PROTOBUF);
            // The answer's head comes at once; its body never ends, so it has no limit.
            let answer = tokio::time::timeout(CALL_LIMIT, request.send())
                .await
                .map_err(|_| WireError::new(Next::Later, format!("{base} does not answer")))?
                .map_err(|error| unreachable(&base, error))?;
            if answer.status() == StatusCode::OK {
                let header = answer.headers().get(STREAM_ID);
                let stream_id = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
                return Ok(Subscription { answer, decoder: Decoder::default(), base, stream_id });
            }
            match redirected(&base, &answer) {
                Some(leader) => base = leader,
                None => return Err(refused(&base, answer, true).await),
            }
        }
        Err(WireError::new(Next::Later, format!("{base}: more than {REDIRECTS_MAX} redirects to a leader")))
    }

    /// Makes a call. That it was accepted says only that it will be looked at.
    pub async fn call(&self, base: &str, stream_id: Option<&str>, call: Vec<u8>) -> Result<(), WireError> {
        let mut request = self.request(base, call).timeout(CALL_LIMIT);
        if let Some(stream_id) = stream_id {
            request = request.header(STREAM_ID, stream_id);
        }
        let answer = request.send().await.map_err(|error| unreachable(base, error))?;
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::OK => Ok(()),
            _ => Err(refused(base, answer, false).await),
        }
    }

    fn request(&self, base: &str, call: Vec<u8>) -> RequestBuilder {
        let request =
            self.http.post(format!("{base}{}", self.path)).header(CONTENT_TYPE, PROTOBUF).body(call);
        match &self.security.credentials {
            Some((principal, secret)) => request.basic_auth(principal, Some(secret)),
            None => match &self.security.bearer {
                Some(token) => request.bearer_auth(token),
                None => request,
            },
        }
    }
}

impl Subscription {
    /// The next event's bytes. Fails when there will be no more.
    pub async fn next(&mut self) -> Result<Vec<u8>, WireError> {
        loop {
            match self.decoder.next_record() {
                Ok(Some(record)) => return Ok(record),
                Ok(None) => {}
                Err(error) => return Err(WireError::new(Next::Now, format!("{}: {error}", self.base))),
            }
            match self.answer.chunk().await {
                Ok(Some(bytes)) => self.decoder.push(&bytes),
                Ok(None) => {
                    return Err(WireError::new(Next::Now, format!("{} ended the subscription", self.base)));
                }
                Err(error) => {
                    let why = causes(&error.without_url());
                    return Err(WireError::new(
                        Next::Now,
                        format!("the connection to {} was lost: {why}", self.base),
                    ));
                }
            }
        }
    }
}

fn unreachable(base: &str, error: reqwest::Error) -> WireError {
    WireError::new(Next::Later, format!("cannot reach {base}: {}", causes(&error.without_url())))
}

/// Where a redirect leads: Mesos leaves the scheme out (`//host:port/path`).
fn redirected(base: &str, answer: &Response) -> Option<String> {
    if answer.status() != StatusCode::TEMPORARY_REDIRECT {
        return None;
    }
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    let scheme = base.split_once("://").map_or("http", |(scheme, _)| scheme);
    let (scheme, rest) = match location.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => (scheme, location.strip_prefix("//")?),
    };
    // What is said over TLS, a secret among it, is not said again without.
    if base.starts_with("https://") && scheme != "https" {
        return None;
    }
    let authority = rest.split('/').next().filter(|authority| !authority.is_empty())?;
    Some(format!("{scheme}://{authority}"))
}

async fn refused(base: &str, mut answer: Response, subscribing: bool) -> WireError {
    let status = answer.status();
    // What a peer says is not believed to be short, nor to come at all.
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(CALL_LIMIT, async {
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > SAID_READ_MAX {
                break;
            }
        }
    })
    .await;
    let said = String::from_utf8_lossy(&bytes);
    let said: String = said.chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect();
    let next = match status.as_u16() {
        401 => Next::Never,
        // Calls are refused so when the subscription is not the master's any more.
        307 | 403 if !subscribing => Next::Now,
        400 if !subscribing && (said.contains("stream ID") || said.contains("cannot be found")) => Next::Now,
        404 | 307 | 408 | 429 | 500..=599 => Next::Later,
        _ => Next::Never,
    };
    let message = match status.as_u16() {
        401 => format!("{base} refuses our credentials ({status}): see --principal and --secret-file"),
        _ => format!("{base} answers {status}: {said}"),
    };
    WireError { message, next, is_about_credentials: status == StatusCode::UNAUTHORIZED }
}
