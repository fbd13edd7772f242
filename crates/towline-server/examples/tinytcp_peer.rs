//! tinytcp's values and framings, as a server and as a client: what `cargo xtask interop tinytcp` plays with Go
//! programs.
//!
//! `tinytcp_peer serve plain|tls DIR` answers until its input ends; `tinytcp_peer client plain|tls DIR ADDR` makes
//! every exchange once. DIR has keys of `tow keys`: `node` to serve by, `client` to dial by. The first byte of a
//! connection is P for values, or the kind of a framing; what follows is sent back.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_codec::framing::{Framing, FramingProtocol, LengthPrefix, PacketReader};
use towline_codec::primitives::{BufMutExt, ReadError, ReadExt, WriteExt};
use towline_identity::Identity;
use towline_server::{Client, Outcome, Server, SocketStream, TaskPerConnection};
use towline_transport::{ConnectOptions, Endpoint, ListenOptions, Listener, TlsConfig};

type Failure = Box<dyn Error + Send + Sync>;

/// The longest byte array, and the largest packet.
const MAX: usize = 1 << 20;
/// The values and every framing, by the byte that a connection begins with.
const KINDS: &[u8] = b"PSVWbBlLqQ";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", mode, dir] => serve(mode, Path::new(dir)).await,
        ["client", mode, dir, address] => client(mode, Path::new(dir), address).await,
        _ => Err("tinytcp_peer serve|client plain|tls DIR [ADDR]".into()),
    }
}

fn framing(kind: u8) -> Result<Framing, Failure> {
    Ok(Framing::length_prefixed(match kind {
        b'S' => return Ok(Framing::separator("\r\n")?),
        b'V' => LengthPrefix::VarInt,
        b'W' => LengthPrefix::VarLong,
        b'b' => LengthPrefix::U16Be,
        b'l' => LengthPrefix::U16Le,
        b'B' => LengthPrefix::U32Be,
        b'L' => LengthPrefix::U32Le,
        b'Q' => LengthPrefix::U64Be,
        b'q' => LengthPrefix::U64Le,
        other => return Err(format!("no framing {other}").into()),
    }))
}

/// One of each value. Floats are kept as bits: a NaN is to come back as it was.
#[derive(Debug, PartialEq)]
struct Values {
    flag: bool,
    octet: u8,
    short: i16,
    integer: i32,
    long: i64,
    single: u32,
    double: u64,
    var_int: i32,
    var_long: i64,
    array: Bytes,
    text: String,
}

impl Values {
    async fn read(input: &mut SocketStream) -> Result<Self, ReadError> {
        Ok(Self {
            flag: input.read_bool().await?,
            octet: input.read_byte().await?,
            short: input.read_int16().await?,
            integer: input.read_int32().await?,
            long: input.read_int64().await?,
            single: input.read_float32().await?.to_bits(),
            double: input.read_float64().await?.to_bits(),
            var_int: input.read_var_int().await?,
            var_long: input.read_var_long().await?,
            array: input.read_byte_array(MAX).await?,
            text: input.read_string(MAX).await?,
        })
    }

    /// Half of it by the writers in memory, and half of it by those of streams.
    async fn write(&self, output: &mut SocketStream) -> std::io::Result<()> {
        let mut begin = BytesMut::new();
        begin.write_bool(self.flag);
        begin.write_byte(self.octet);
        begin.write_int16(self.short);
        begin.write_int32(self.integer);
        begin.write_int64(self.long);
        output.write_all(&begin).await?;
        output.write_float32(f32::from_bits(self.single)).await?;
        output.write_float64(f64::from_bits(self.double)).await?;
        output.write_var_int(self.var_int).await?;
        output.write_var_long(self.var_long).await?;
        output.write_byte_array(&self.array).await?;
        output.write_string(&self.text).await
    }

    fn samples() -> [Self; 2] {
        [
            Self {
                flag: true,
                octet: 200,
                short: -12_345,
                integer: -1_234_567_890,
                long: -1_234_567_890_123_456_789,
                single: 1.5_f32.to_bits(),
                double: (-2.25_f64).to_bits(),
                var_int: 25_565,
                var_long: 300,
                array: vec![0, 255, 7].into(),
                text: "hello, wörld".to_owned(),
            },
            Self {
                flag: false,
                octet: 0,
                short: i16::MIN,
                integer: i32::MAX,
                long: i64::MIN,
                single: (-0.0_f32).to_bits(),
                double: f64::NEG_INFINITY.to_bits(),
                var_int: i32::MAX,
                var_long: i64::MAX,
                array: vec![7; 70_000].into(),
                text: String::new(),
            },
        ]
    }
}

async fn serve(mode: &str, dir: &Path) -> Result<(), Failure> {
    let (endpoint, options) = match mode {
        "tls" => {
            let tls = TlsConfig::from_pem_files(dir.join("node.crt"), dir.join("node.key"))?;
            ("tls://127.0.0.1:0", ListenOptions::new().tls_config(tls))
        }
        _ => ("tcp://127.0.0.1:0", ListenOptions::new()),
    };
    let listener = Listener::bind(&endpoint.parse()?, &options).await?;
    let strategy = TaskPerConnection::new(|stream: SocketStream| async move {
        match answer(stream).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    });
    let server = Server::builder().start([listener], strategy)?;
    let address = server.handle().local_addr().ok_or("no address")?;
    println!("{address}");
    let mut ignored = Vec::new();
    tokio::io::stdin().read_to_end(&mut ignored).await?;
    server.drain().await;
    Ok(())
}

/// Sends everything back until the other end has said all.
async fn answer(mut stream: SocketStream) -> Result<(), Failure> {
    let kind = stream.read_byte().await?;
    if kind == b'P' {
        loop {
            match Values::read(&mut stream).await {
                Ok(values) => values.write(&mut stream).await?,
                Err(error) if stream.is_closed() => return Err(error.into()),
                Err(_) => return Ok(()),
            }
        }
    }
    let framing = framing(kind)?;
    let socket = stream.socket().clone();
    let mut packets = PacketReader::new(stream);
    while let Ok(packet) = packets.read_packet(&framing, MAX).await {
        socket.send_packet(&framing, &packet)?;
    }
    Ok(())
}

async fn client(mode: &str, dir: &Path, address: &str) -> Result<(), Failure> {
    let scheme = if mode == "tls" { "tls" } else { "tcp" };
    let endpoint: Endpoint = format!("{scheme}://{address}").parse()?;
    let mut options = ConnectOptions::new();
    if mode == "tls" {
        options = options.identity(Arc::new(Identity::load(dir, "client")?));
    }
    let client = Client::new(endpoint).transport(options);
    for &kind in KINDS {
        let mut stream = client.connect().await?;
        stream.write_all(&[kind]).await?;
        if kind == b'P' {
            for values in Values::samples() {
                values.write(&mut stream).await?;
                let back = Values::read(&mut stream).await?;
                if back != values {
                    return Err(format!("{values:?} came back as {back:?}").into());
                }
            }
            continue;
        }
        let framing = framing(kind)?;
        let socket = stream.socket().clone();
        let mut packets = PacketReader::new(stream);
        for payload in [
            &b"hello"[..],
            b"",
            b"half \r of it\n",
            &[b'x'; 8000],
            b"end",
        ] {
            let mut packet = BytesMut::new();
            framing.encode(payload, &mut packet)?;
            // In two pieces, so that it is cut somewhere.
            let rest = packet.split_off(packet.len() / 2);
            socket.send(packet)?;
            socket.send(rest)?;
            let back = packets.read_packet(&framing, MAX).await?;
            if back != payload {
                return Err(format!("kind {}: a packet came back otherwise", kind as char).into());
            }
        }
    }
    println!("ok");
    Ok(())
}
