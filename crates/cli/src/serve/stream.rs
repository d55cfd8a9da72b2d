//! A client's TCP stream, which notes on the connection's `Link` what is read, written and waited for.
//!
//! Three things hyper leaves to its stream. It says when the kernel takes no more of an answer, so that a client that
//! does not read holds nothing for ever. It notices that a client has gone (reset, not half-closed) while its answer is
//! being made, so that nothing is signed for nobody. And hyper's own refusals (400, 431), which no service sees, leave
//! as JSON with a request id like all others. Pinned by `tests/e2e/test_hostile_clients.py` and `test_http_framing.py`.

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

    /// An error once the client has broken off. One that has only closed its side still gets its answer.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut byte = [0];
        if let Poll::Ready(peeked) = self.tcp.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            peeked?;
            // Its end, or its next request: either way there is nothing more to learn before this one is answered.
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
