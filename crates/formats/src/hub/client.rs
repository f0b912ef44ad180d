//! HTTP requests to an untrusted server.
//!
//! Connecting, waiting, redirects and the size of responses are all limited. Redirects are followed
//! here rather than by `ureq`, so that the token is sent to the endpoint's own host over https and
//! nowhere else.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, LOCATION, RANGE};
use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::{Agent, Body};

use super::{Hub, Limits};

const MAX_REDIRECTS: usize = 10;
/// Maximum length of a repository's file list; a thousand names take 0.1 MB.
const MAX_TEXT_BYTES: u64 = 4 << 20;
/// The header in which the Hub states the hash of a file that it serves from elsewhere.
pub(super) const LINKED_ETAG: &str = "x-linked-etag";

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection was cut; resuming may help.
    Cut(String),
    /// Resuming is pointless.
    Final(String),
}

impl From<Trouble> for String {
    fn from(trouble: Trouble) -> Self {
        let (Trouble::Cut(reason) | Trouble::Final(reason)) = trouble;
        reason
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        ureq::Error::from(error).into()
    }
}

impl From<ureq::Error> for Trouble {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::Final(
                "the server did not answer in time; what arrived is kept, and the next try \
                 continues from there"
                    .to_owned(),
            ),
            ureq::Error::HostNotFound => Self::Final(
                "no server of this name was found; check the network and HF_ENDPOINT".to_owned(),
            ),
            other => Self::Cut(format!(
                "the connection failed ({other}); what arrived is kept, and the next try \
                 continues from there"
            )),
        }
    }
}

pub(super) struct Client<'a> {
    agent: Agent,
    endpoint: Uri,
    hub: &'a Hub,
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub) -> Result<Self, String> {
        let Limits {
            connect,
            head,
            stall,
            total,
            ..
        } = hub.limits;
        let endpoint: Option<Uri> = hub.endpoint.parse().ok().filter(is_web);
        let Some(endpoint) = endpoint else {
            return Err(format!(
                "HF_ENDPOINT is '{}', which does not start with https:// or http://",
                hub.endpoint
            ));
        };
        if hub.token.is_some() && endpoint.scheme_str() != Some("https") {
            log::warn!("the token is not sent to {endpoint}: tokens go over https only");
        }
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("resnet-wgpu/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_send_request(Some(head))
            .timeout_recv_response(Some(head))
            .timeout_per_read(Some(stall))
            .timeout_recv_body(Some(total))
            .build();
        Ok(Self {
            agent: config.into(),
            endpoint,
            hub,
        })
    }

    pub(super) const fn limits(&self) -> &Limits {
        &self.hub.limits
    }

    /// Requests a short text.
    pub(super) fn text(&self, path: &str) -> Result<Vec<u8>, String> {
        let answer = self.get(path, None, |_| false)?;
        let mut text = Vec::new();
        self.read(answer, MAX_TEXT_BYTES, |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(text)
    }

    /// Requests a range of bytes of a path and follows redirects, unless `enough` accepts the
    /// headers of a redirect as the response.
    pub(super) fn get(
        &self,
        path: &str,
        range: Option<&str>,
        enough: impl Fn(&HeaderMap) -> bool,
    ) -> Result<Response<Body>, Trouble> {
        let mut url = format!("{}{path}", self.hub.endpoint);
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = url.parse().map_err(|error| {
                Trouble::Final(format!("the address '{url}' is malformed: {error}"))
            })?;
            let mut request = self.agent.get(&url).header(ACCEPT_ENCODING, "identity");
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            if let Some(token) = &self.hub.token
                && may_have_token(&self.endpoint, &uri)
            {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let answer = request.call()?;
            let status = answer.status();
            if status.is_success() || status.is_redirection() && enough(answer.headers()) {
                return Ok(answer);
            }
            if !status.is_redirection() {
                return Err(Trouble::Final(of_status(status)));
            }
            let location = header(answer.headers(), LOCATION.as_str());
            url = target(&uri, location).map_err(Trouble::Final)?;
        }
        let reason = format!("the server redirects more than {MAX_REDIRECTS} times");
        Err(Trouble::Final(reason))
    }

    /// Passes on the bytes of a response, at most `most`; fails if they arrive too slowly.
    pub(super) fn read(
        &self,
        answer: Response<Body>,
        most: u64,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Trouble> {
        let Limits {
            stall,
            stall_bytes,
            total,
            ..
        } = self.hub.limits;
        let mut body = answer.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        let (start, mut pause) = (Instant::now(), Instant::now());
        let (mut read, mut recent) = (0, 0);
        loop {
            let count = body.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            read += count as u64;
            recent += count as u64;
            if read > most {
                return Err(Trouble::Final(format!(
                    "the server sends more than the {most} bytes that are expected"
                )));
            }
            let taken = take(&buffer[..count]);
            taken.map_err(|error| Trouble::Final(format!("cannot write the cache: {error}")))?;
            if pause.elapsed() >= stall {
                if recent < stall_bytes {
                    return Err(too_slow(recent, stall));
                }
                (recent, pause) = (0, Instant::now());
            }
            if start.elapsed() >= total {
                return Err(too_slow(read, total));
            }
        }
    }
}

fn too_slow(bytes: u64, time: Duration) -> Trouble {
    Trouble::Final(format!(
        "the server is too slow: {bytes} bytes in {:.1} s; what arrived is kept, and the \
         next try continues from there",
        time.as_secs_f64()
    ))
}

/// The text of a header, if it exists and is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The first byte and the total size from a `Content-Range` such as `bytes 5-9/10`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = header(headers, CONTENT_RANGE.as_str())?;
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()?))
}

fn is_web(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some()
}

fn may_have_token(endpoint: &Uri, uri: &Uri) -> bool {
    let is_https = uri.scheme_str() == Some("https");
    let place = |uri: &Uri| {
        let host = uri.host().map(str::to_ascii_lowercase);
        (host, uri.port_u16().unwrap_or(443))
    };
    is_https && endpoint.scheme() == uri.scheme() && place(endpoint) == place(uri)
}

/// The target of a redirect: a URL, or a path on the same server, but never from https to http.
fn target(from: &Uri, location: Option<&str>) -> Result<String, String> {
    let refused = || {
        let shown = location.unwrap_or("nothing");
        format!("the server redirects to '{shown}', where no file can be")
    };
    let location = location.ok_or_else(refused)?;
    let scheme = from.scheme_str().unwrap_or("https");
    let authority = from.authority().map_or("", |authority| authority.as_str());
    let url = match location {
        path if path.starts_with("//") => format!("{scheme}:{path}"),
        path if path.starts_with('/') => format!("{scheme}://{authority}{path}"),
        url => url.to_owned(),
    };
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let weaker = scheme == "https" && uri.scheme_str() != Some("https");
    if is_web(&uri) && !weaker {
        Ok(url)
    } else {
        Err(refused())
    }
}

fn of_status(status: StatusCode) -> String {
    match status.as_u16() {
        404 => "the server has no such repository or file; check its name".to_owned(),
        401 | 403 => {
            "the server asks for authentication: the name is wrong, or the repository is private \
             (set HF_TOKEN)"
                .to_owned()
        }
        status => format!("the server answered with status {status}; try again later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stays_with_its_host() {
        let may = |endpoint: &str, url: &str| {
            let uri = |text: &str| text.parse().expect("an address");
            may_have_token(&uri(endpoint), &uri(url))
        };
        let hub = "https://hub.example";
        assert!(may(hub, "https://HUB.example:443/a/b"), "the same");
        for other in [
            "http://hub.example/a",
            "https://hub.example:444/a",
            "https://hub.example.evil.example/a",
            "https://evil.example/hub.example",
            "https://hub.example@evil.example/a",
            "https://cdn.hub.example/a",
        ] {
            assert!(!may(hub, other), "{other}");
        }
        let plain = "http://127.0.0.1:8000";
        assert!(!may(plain, plain), "never without https");
    }

    #[test]
    fn redirects_lead_to_servers_and_stay_safe() {
        let from = "https://hub.example:1/a?b".parse().expect("an address");
        let lead = |location| target(&from, Some(location)).ok();
        let at = |text: &str| Some(text.to_owned());
        assert_eq!(lead("/x?y"), at("https://hub.example:1/x?y"));
        assert_eq!(lead("//c.example/x"), at("https://c.example/x"));
        assert_eq!(lead("https://c.example/x"), at("https://c.example/x"));
        for bad in [
            "",
            "*",
            "x",
            "http://hub.example:1/x",
            "file:///etc/passwd",
            "https://",
            "ftp://a/b",
            "https://a b/",
        ] {
            assert_eq!(lead(bad), None, "{bad}");
        }
        assert_eq!(target(&from, None).ok(), None, "no location");
    }
}
