//! The original's example services, for Go clients and others: `Arith`, `BuiltinTypes` and
//! `MustBeCancelled`.
//!
//! ```text
//! cargo run --example net_rpc -- tcp://127.0.0.1:8443
//! ```
//!
//! A Go program calls them by `client.Call("Arith.Add", args, reply, ctx)`, one of towline by
//! `client.net_rpc("Arith.Add", &args)`. `Args` and `Reply` are structs in tuple form: in Rust, tuples.

use std::{collections::BTreeMap, convert::Infallible, future::pending, time::Duration};

use towline::rpc::{
    Context, Message, Server,
    server::{ListenConfig, NetRpcService, RegisterError},
};

/// `struct { A, B int }`
type Args = (i64, i64);
/// `struct { C int }`
type Reply = (i64,);

/// The server with the three services, and a call of the Message API that only a cancel ends.
pub(crate) fn services() -> Result<Server, RegisterError> {
    Ok(Server::builder()
        .net_rpc(arith("Arith"))?
        .net_rpc(arith("net.rpc.Arith"))?
        .net_rpc(builtin_types())?
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
