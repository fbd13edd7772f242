//! The original's example services, for Go clients and others: `Arith`, `BuiltinTypes`, `Embed`, `Hello` with its
//! `BenchmarkMessage`, and `MustBeCancelled`.
//!
//! ```text
//! cargo run --example net_rpc -- tcp://127.0.0.1:8443
//! ```
//!
//! A Go program calls them by `client.Call("Arith.Add", args, reply, ctx)`, one of towline by
//! `client.net_rpc("Arith.Add", &args)`. `Args` and `Reply` are structs in tuple form: in Rust, tuples.

use std::{collections::BTreeMap, convert::Infallible, future::pending, time::Duration};

use towline::{
    Greenpack,
    rpc::{
        Context, Message, Server,
        server::{ListenConfig, NetRpcService, RegisterError},
    },
};

/// `struct { A, B int }`
type Args = (i64, i64);
/// `struct { C int }`
type Reply = (i64,);

/// What the original's benchmark sends: `BenchmarkMessage`.
#[derive(Greenpack, Debug, Clone, Default, PartialEq)]
#[greenpack(tuple)]
pub(crate) struct BenchmarkMessage {
    #[zid(0)]
    pub(crate) field1: String,
    #[zid(1)]
    pub(crate) field9: String,
    #[zid(2)]
    pub(crate) field18: String,
    #[zid(3)]
    pub(crate) field80: bool,
    #[zid(4)]
    pub(crate) field81: bool,
    #[zid(5)]
    pub(crate) field2: i32,
    #[zid(6)]
    pub(crate) field3: i32,
    #[zid(7)]
    pub(crate) field280: i32,
    #[zid(8)]
    pub(crate) field6: i32,
    #[zid(9)]
    pub(crate) field22: i64,
    #[zid(10)]
    pub(crate) field4: String,
    #[zid(11)]
    pub(crate) field5: Vec<u64>,
    #[zid(12)]
    pub(crate) field59: bool,
    #[zid(13)]
    pub(crate) field7: String,
    #[zid(14)]
    pub(crate) field16: i32,
    #[zid(15)]
    pub(crate) field130: i32,
    #[zid(16)]
    pub(crate) field12: bool,
    #[zid(17)]
    pub(crate) field17: bool,
    #[zid(18)]
    pub(crate) field13: bool,
    #[zid(19)]
    pub(crate) field14: bool,
    #[zid(20)]
    pub(crate) field104: i32,
    #[zid(21)]
    pub(crate) field100: i32,
    #[zid(22)]
    pub(crate) field101: i32,
    #[zid(23)]
    pub(crate) field102: String,
    #[zid(24)]
    pub(crate) field103: String,
    #[zid(25)]
    pub(crate) field29: i32,
    #[zid(26)]
    pub(crate) field30: bool,
    #[zid(27)]
    pub(crate) field60: i32,
    #[zid(28)]
    pub(crate) field271: i32,
    #[zid(29)]
    pub(crate) field272: i32,
    #[zid(30)]
    pub(crate) field150: i32,
    #[zid(31)]
    pub(crate) field23: i32,
    #[zid(32)]
    pub(crate) field24: bool,
    #[zid(33)]
    pub(crate) field25: i32,
    #[zid(34)]
    pub(crate) field78: bool,
    #[zid(35)]
    pub(crate) field67: i32,
    #[zid(36)]
    pub(crate) field68: i32,
    #[zid(37)]
    pub(crate) field128: i32,
    #[zid(38)]
    pub(crate) field129: String,
    #[zid(39)]
    pub(crate) field131: i32,
}

/// The server with its services, and a call of the Message API that only a cancel ends.
pub(crate) fn services() -> Result<Server, RegisterError> {
    Ok(Server::builder()
        .net_rpc(arith("Arith"))?
        .net_rpc(arith("net.rpc.Arith"))?
        .net_rpc(builtin_types())?
        .net_rpc(embed())?
        .net_rpc(hello())?
        .net_rpc(must_be_cancelled())?
        .call("hang_until_cancel", |_: Context, _: Message| {
            pending::<Result<Message, Infallible>>()
        })
        .build())
}

fn arith(name: &'static str) -> NetRpcService {
    NetRpcService::new(name)
        .method("Add", |_: Context, (a, b): Args| async move {
            Ok::<Reply, Infallible>((a.wrapping_add(b),))
        })
        .method("Mul", |_: Context, (a, b): Args| async move {
            Ok::<Reply, Infallible>((a.wrapping_mul(b),))
        })
        .method("Div", |_: Context, (a, b): Args| async move {
            let quotient = a.checked_div(b).ok_or("divide by zero")?;
            Ok::<Reply, &str>((quotient,))
        })
        .method("String", |_: Context, (a, b): Args| async move {
            Ok::<_, Infallible>(format!("{a}+{b}={}", a.wrapping_add(b)))
        })
        .method("Scan", |_: Context, text: String| async move {
            text.trim().parse().map(|number: i64| (number,))
        })
        .method("Error", |_: Context, _: Args| async move {
            Err::<Reply, _>("ERROR")
        })
        .method("SleepMilli", |_: Context, (millis, _): Args| async move {
            let pause = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
            tokio::time::sleep(pause).await;
            Ok::<Reply, Infallible>((0,))
        })
}

fn builtin_types() -> NetRpcService {
    NetRpcService::new("BuiltinTypes")
        .method("Map", |_: Context, (a, b): Args| async move {
            Ok::<_, Infallible>(BTreeMap::from([(a, b)]))
        })
        .method("Slice", |_: Context, (a, b): Args| async move {
            Ok::<_, Infallible>(vec![a, b])
        })
        .method("Array", |_: Context, (a, b): Args| async move {
            Ok::<_, Infallible>([a, b])
        })
        // Methods see who calls, and the header of the request.
        .method(
            "WantsContext",
            |context: Context, (a, b): Args| async move {
                context
                    .header()
                    .map(|_| [a, b])
                    .ok_or("a net/rpc call has a header")
            },
        )
}

/// In Go the method is promoted from a type within the type.
fn embed() -> NetRpcService {
    NetRpcService::new("Embed").method("Exported", |_: Context, (a, b): Args| async move {
        Ok::<Reply, Infallible>((a.wrapping_add(b),))
    })
}

/// What came goes back, with two fields that say so.
fn hello() -> NetRpcService {
    NetRpcService::new("Hello").method("Say", |_: Context, said: BenchmarkMessage| async move {
        Ok::<_, Infallible>(BenchmarkMessage {
            field1: "OK".to_owned(),
            field2: 100,
            ..said
        })
    })
}

/// A method that waits for ever ends when its caller cancels: its future is dropped.
fn must_be_cancelled() -> NetRpcService {
    NetRpcService::new("MustBeCancelled").method("WillHangUntilCancel", |_: Context, _: Args| {
        pending::<Result<Reply, Infallible>>()
    })
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program says where it listens")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1);
    let endpoint = endpoint.as_deref().unwrap_or("tcp://127.0.0.1:0");
    let listening = services()?.listen(endpoint, ListenConfig::new()).await?;
    println!("listening on {}", listening.endpoint());
    tokio::signal::ctrl_c().await?;
    listening.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
