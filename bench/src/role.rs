//! The hidden commands: one side of one peer in a process of its own.

use std::{future::Future, io::Read as _, net::SocketAddr, path::PathBuf};

use clap::Subcommand;
use towline::identity::CipherSuite;

use crate::{file, mux, rpc, server, swp};

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Answers calls until its input ends
    #[command(hide = true)]
    RpcServer(rpc::ServerArgs),
    /// Makes calls and prints what it measured
    #[command(hide = true)]
    RpcClient(rpc::ClientArgs),
    /// Answers streams until its input ends
    #[command(hide = true)]
    MuxServer(mux::MuxServerArgs),
    /// Opens streams and prints what it measured
    #[command(hide = true)]
    MuxClient(mux::MuxClientArgs),
    /// Serves very many sockets until its input ends
    #[command(hide = true)]
    ServerServer(server::ServerArgs),
    /// Is very many clients and prints what it measured
    #[command(hide = true)]
    ServerClient(server::ServerArgs),
    /// Takes what comes through a broker
    #[command(hide = true)]
    SwpServer(swp::SwpArgs),
    /// Sends through a broker and prints what it measured
    #[command(hide = true)]
    SwpClient(swp::SwpArgs),
    /// Takes and gives a file over plain TLS until its input ends
    #[command(hide = true)]
    FileServer(file::RawArgs),
    /// Sends or fetches a file over plain TLS
    #[command(hide = true)]
    FileClient {
        /// Which way
        direction: file::Direction,
        /// The server
        address: SocketAddr,
        /// What to send, or where to store
        path: PathBuf,
        #[command(flatten)]
        args: file::RawArgs,
    },
}

impl Role {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let one_thread = match &self {
            Self::MuxServer(args) => args.prepare()?,
            Self::MuxClient(args) => args.prepare()?,
            Self::RpcServer(args) => args.prepare().map(|()| false)?,
            Self::RpcClient(args) => args.prepare().map(|()| false)?,
            _ => false,
        };
        let mut builder = if one_thread {
            tokio::runtime::Builder::new_current_thread()
        } else {
            tokio::runtime::Builder::new_multi_thread()
        };
        let runtime = builder.enable_all().build()?;
        // Everything runs in spawned tasks: in the thread that blocks on a future every wake-up
        // would cost a hop from another thread.
        match self {
            Self::RpcServer(args) => {
                runtime.spawn(or_exit(rpc::serve(args)));
                wait_for_end_of_input()?;
            }
            Self::MuxServer(args) => {
                // A runtime of one thread needs this one.
                std::thread::spawn(|| {
                    drop(wait_for_end_of_input());
                    std::process::exit(0);
                });
                runtime.block_on(runtime.spawn(or_exit(async {
                    mux::serve(args).await?;
                    std::future::pending().await
                })))?;
            }
            Self::MuxClient(args) => runtime.block_on(runtime.spawn(mux::client(args)))??,
            Self::FileServer(args) => {
                runtime.spawn(or_exit(file::raw::serve(args)));
                wait_for_end_of_input()?;
            }
            Self::ServerServer(args) => {
                runtime.spawn(or_exit(server::serve(args)));
                wait_for_end_of_input()?;
            }
            Self::ServerClient(args) => runtime.block_on(runtime.spawn(server::client(args)))??,
            Self::SwpServer(args) => {
                runtime.spawn(or_exit(swp::serve(args)));
                wait_for_end_of_input()?;
            }
            Self::SwpClient(args) => runtime.block_on(runtime.spawn(swp::client(args)))??,
            Self::RpcClient(args) => runtime.block_on(runtime.spawn(rpc::client(args)))??,
            Self::FileClient {
                direction,
                address,
                path,
                args,
            } => runtime.block_on(runtime.spawn(async move {
                match direction {
                    file::Direction::Push => file::raw::push(address, path, args).await,
                    file::Direction::Pull => file::raw::pull(address, path, args).await,
                }
            }))??,
        }
        // Threads that wait for a disk must not hold up the end.
        runtime.shutdown_background();
        Ok(())
    }
}

/// Says to the program that started this one where it listens.
pub(crate) fn say_ready(address: impl std::fmt::Display) {
    println!("{address}");
}

/// The suite of an option.
pub(crate) fn parse_suite(text: &str) -> Result<CipherSuite, String> {
    text.parse::<CipherSuite>()
        .map_err(|error| error.to_string())
}

/// A server that fails must not leave its clients waiting.
async fn or_exit(server: impl Future<Output = anyhow::Result<()>>) {
    if let Err(error) = server.await {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn wait_for_end_of_input() -> std::io::Result<()> {
    let mut ignored = Vec::new();
    std::io::stdin().lock().read_to_end(&mut ignored)?;
    Ok(())
}
