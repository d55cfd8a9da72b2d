//! HTTP/1.1 over TCP, one request on a connection: all that is needed on loopback.

use oauth2::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use std::{
    fmt,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

fn failure(why: impl fmt::Display) -> Failure {
    Failure(why.to_string())
}

/// Sends a request and reads the answer to its end.
pub fn send(request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Failure> {
    let (parts, body) = request.into_parts();
    let authority = parts.uri.authority().ok_or_else(|| failure("no host"))?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut head = format!("{} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n", parts.method);
    for (name, value) in &parts.headers {
        head += &format!("{name}: {}\r\n", value.to_str().map_err(failure)?);
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(authority.as_str()).map_err(failure)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(failure)?;
    stream.write_all(&[head.as_bytes(), &body].concat()).map_err(failure)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failure)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| failure("no head"))?;
    let head = std::str::from_utf8(&answer[..end]).map_err(failure)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or_else(|| failure("no status"))?;
    let mut response = Response::new(answer[end + 4..].to_vec());
    *response.status_mut() = status.parse::<StatusCode>().map_err(failure)?;
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::try_from(name).map_err(failure)?;
        response.headers_mut().append(name, HeaderValue::try_from(value).map_err(failure)?);
    }
    Ok(response)
}
