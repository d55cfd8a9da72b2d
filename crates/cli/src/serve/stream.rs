//! A client's TCP stream, which notes on the connection's `Link` what is read, written and waited
//! for.
//!
//! Three things hyper leaves to its stream. It says when the kernel takes no more of an answer, so
//! that a client that does not read holds nothing forever. It notices that a client has gone
//! (reset, not half-closed) while its answer is being made, so that nothing is signed for nobody.
//! And hyper's own refusals (400, 431), which no service sees, leave as JSON with a request id like
//! all others. Pinned by `tests/e2e/test_hostile_clients.py` and `test_http_framing.py`.

use super::{
    link::{Link, Phase},
    request,
};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Counts an answer that no service made.
pub(super) type Refused = Box<dyn Fn(u16) + Send + Sync>;

pub(super) struct Stream {
    tcp: TcpStream,
    link: Arc<Link>,
    refused: Refused,
    /// What is sent instead of hyper's refusal, and how much of it was.
    refusal: Option<(Vec<u8>, usize)>,
    /// Whether the client was seen to be there since its request came.
    is_there: bool,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, link: Arc<Link>, refused: Refused) -> Self {
        Self { tcp, link, refused, refusal: None, is_there: false }
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.link.stalls(),
            Poll::Ready(Ok(bytes)) => self.link.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
        }
    }

    /// What hyper writes when no request is under way is its answer to something that is not one.
    fn is_refusal(&self) -> bool {
        matches!(self.link.phase(), Phase::Fresh | Phase::Idle | Phase::Head)
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>, original: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = original.iter().map(|slice| slice.len()).sum();
        let (bytes, mut sent) = match self.refusal.take() {
            Some(begun) => begun,
            None => {
                let status = original.first().and_then(|first| status(first));
                let Some((status, bytes)) = status.and_then(|status| Some((status, request::raw(status)?)))
                else {
                    return Pin::new(&mut self.tcp).poll_write_vectored(cx, original);
                };
                (self.refused)(status);
                (bytes, 0)
            }
        };
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.tcp).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => sent += written,
                Poll::Ready(Err(why)) => return Poll::Ready(Err(why)),
                Poll::Pending => {
                    self.refusal = Some((bytes, sent));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(length))
    }

    /// An error once the client has broken off. One that has only closed its side still gets its
    /// answer.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut byte = [0];
        if let Poll::Ready(peeked) = self.tcp.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            peeked?;
            // Its end, or its next request: either way there is nothing more to learn before this
            // one is answered.
            self.is_there = true;
        }
        Ok(())
    }
}

/// The status of an HTTP/1.1 response that has begun.
fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        match &read {
            Poll::Pending => self.link.wants_more(),
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                self.is_there = false;
                self.link.read();
            }
            Poll::Ready(_) => {}
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_refusal() {
            return self.poll_refusal(cx, &[IoSlice::new(bytes)]);
        }
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_refusal() {
            return self.poll_refusal(cx, bytes);
        }
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bytes);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    /// hyper flushes when it has nothing left to write, also while it waits for an answer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_flush(cx))?;
        self.link.flushed();
        if !self.is_there && self.link.phase() == Phase::Answering {
            self.poll_gone(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.link.is_reset() {
            // Or the kernel would keep trying to send what nobody reads.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, net::Ipv4Addr};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::Instant,
    };

    async fn pair() -> (TcpStream, Stream, Arc<Link>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, from) = listener.accept().await.unwrap();
        let link = Arc::new(Link::new(from.ip(), false, Instant::now()));
        let stream = Stream::new(tcp, Arc::clone(&link), Box::new(|_| {}));
        (client, stream, link)
    }

    async fn read_a_request(client: &mut TcpStream, stream: &mut Stream, link: &Link) {
        client.write_all(b"request").await.unwrap();
        let mut bytes = [0; 7];
        stream.read_exact(&mut bytes).await.unwrap();
        link.begins();
    }

    /// Flushes, as hyper does each time it finds that there is no answer yet, until that fails or
    /// `is_there` is known.
    async fn flush_until_known(stream: &mut Stream) -> io::Result<()> {
        poll_fn(|cx| {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            if stream.is_there { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    #[tokio::test]
    async fn a_client_that_breaks_off_while_its_answer_is_made_is_noticed() {
        let (mut client, mut stream, link) = pair().await;
        read_a_request(&mut client, &mut stream, &link).await;
        client.set_zero_linger().unwrap();
        drop(client);
        let why = flush_until_known(&mut stream).await.unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_client_that_has_closed_its_side_is_there() {
        let (mut client, mut stream, link) = pair().await;
        read_a_request(&mut client, &mut stream, &link).await;
        client.shutdown().await.unwrap();
        flush_until_known(&mut stream).await.unwrap();
        link.answered();
        stream.write_all(b"answer").await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        assert_eq!(link.phase(), Phase::Idle);
    }

    #[tokio::test]
    async fn a_client_that_sends_its_next_request_is_there() {
        let (mut client, mut stream, link) = pair().await;
        read_a_request(&mut client, &mut stream, &link).await;
        client.write_all(b"next").await.unwrap();
        flush_until_known(&mut stream).await.unwrap();
        let mut next = [0; 4];
        stream.read_exact(&mut next).await.unwrap();
        assert_eq!(&next, b"next");
    }

    #[tokio::test]
    async fn what_hyper_writes_without_a_request_leaves_as_a_refusal_with_an_id() {
        let (mut client, mut stream, link) = pair().await;
        let automatic = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(automatic).await.unwrap();
        drop(stream);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 431 ") && text.contains("\r\nx-request-id: "), "{text}");
        assert!(text.ends_with('}'), "{text}");
        assert_eq!(link.phase(), Phase::Fresh);
    }
}
