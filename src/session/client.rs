//! The client's side of a session: its stream, and the bytes on their way in and out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::copy::encode::Encoder;

/// What a read has room for at first: nearly all statements fit.
const READ_SMALL: usize = 4 << 10;
/// What a read has room for once a client sends more: a system call's cost no longer counts.
const READ_LARGE: usize = 64 << 10;

/// How long a client that does not read may hold up the end of its connection.
const CLOSE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// A client's connection, encrypted or not.
#[derive(Debug)]
pub enum ClientStream {
    /// Loopback, or an operator who allows it.
    Plain(TcpStream),
    /// TLS. Boxed, because its state is large and plain clients should not pay for it.
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl ClientStream {
    /// Our end of it.
    pub fn local(&self) -> Option<std::net::SocketAddr> {
        match self {
            ClientStream::Plain(stream) => stream.local_addr().ok(),
            ClientStream::Tls(stream) => stream.get_ref().0.local_addr().ok(),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            ClientStream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientStream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            ClientStream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            ClientStream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A client's stream with its buffers.
#[derive(Debug)]
pub struct Client {
    /// The connection.
    pub stream: ClientStream,
    /// Bytes that came and are not yet acted on.
    pub incoming: BytesMut,
    /// Bytes to be sent.
    pub outgoing: BytesMut,
    /// Turns what is to be sent into a COPY's messages. How many bytes at the start of `outgoing` it has done.
    encoder: Option<(Box<Encoder>, usize)>,
    /// Bytes received and sent that have not been counted yet.
    traffic: (u64, u64),
}

impl Client {
    /// A client without any bytes yet.
    pub fn new(stream: ClientStream) -> Self {
        Client { stream, incoming: BytesMut::new(), outgoing: BytesMut::new(), encoder: None, traffic: (0, 0) }
    }

    /// Reads once into `incoming`; 0 is the client's end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let n = ready!(poll_fill(Pin::new(&mut self.stream), &mut self.incoming, cx))?;
        self.traffic.0 += n as u64;
        Poll::Ready(Ok(n))
    }

    /// Bytes received and sent since the last call.
    pub fn take_traffic(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.traffic)
    }

    /// Sends as much of `outgoing` as the socket takes; ready when all of it is sent.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let ready = self.encode();
            if ready == 0 {
                break;
            }
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing[..ready]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(n);
            self.traffic.1 += n as u64;
            if let Some((_, done)) = &mut self.encoder {
                *done -= n;
            }
        }
        match &mut self.stream {
            ClientStream::Plain(_) => Poll::Ready(Ok(())),
            ClientStream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    /// From now on, whole messages of a query's answer become those of a COPY, until the statement is over.
    pub fn encode_with(&mut self, encoder: Encoder) {
        self.encoder = Some((Box::new(encoder), self.outgoing.len()));
    }

    /// How many bytes of `outgoing` are as the client gets them.
    fn encode(&mut self) -> usize {
        let Some((encoder, done)) = &mut self.encoder else { return self.outgoing.len() };
        if *done == 0 {
            let mut encoded = BytesMut::with_capacity(self.outgoing.len());
            encoder.pass(&mut self.outgoing, &mut encoded);
            *done = encoded.len();
            encoded.extend_from_slice(&self.outgoing);
            self.outgoing = encoded;
        }
        let done = *done;
        if encoder.is_done() && done == self.outgoing.len() {
            self.encoder = None;
        }
        done
    }

    /// Reads some bytes; 0 is the end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: bytes are in `incoming` or still in the socket.
    pub async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Sends all of `outgoing`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was not sent stays in `outgoing`.
    pub async fn send(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Ends the stream in good order: a TLS client that is not told takes the end for an attack.
    pub async fn close(&mut self) {
        // It may be gone, or not read; either way nothing more can be done for it.
        let _ = tokio::time::timeout(CLOSE_PATIENCE, tokio::io::AsyncWriteExt::shutdown(&mut self.stream)).await;
    }

    /// Gives the memory of empty buffers back: an idle client costs no buffer.
    pub fn release_buffers(&mut self) {
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        if self.outgoing.is_empty() {
            self.outgoing = BytesMut::new();
        }
    }
}

/// Reads once into a growing buffer, without zeroing them first.
fn poll_fill(stream: Pin<&mut ClientStream>, buffer: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    use bytes::BufMut;
    if buffer.capacity() - buffer.len() < READ_SMALL / 4 {
        buffer.reserve(if buffer.len() < READ_SMALL / 2 { READ_SMALL } else { READ_LARGE });
    }
    let spare = buffer.spare_capacity_mut();
    let mut read = ReadBuf::uninit(spare);
    ready!(stream.poll_read(cx, &mut read))?;
    let n = read.filled().len();
    // SAFETY: `read` has initialised its first `n` bytes, which are the buffer's spare capacity.
    unsafe { buffer.advance_mut(n) };
    Poll::Ready(Ok(n))
}
