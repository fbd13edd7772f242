//! A server and a client of one process on one UDP port, as the original's `samesame`. Two of them call each other:
//!
//! ```text
//! tow keys new node; tow keys new client
//! cargo run --example one_udp_port -- certs 127.0.0.1:8445 127.0.0.1:8443
//! cargo run --example one_udp_port -- certs 127.0.0.1:8443 127.0.0.1:8445
//! ```

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use towline::{
    identity::Identity,
    rpc::{
        Client, Context, Message, Server,
        server::{ListenConfig, Listening},
    },
    transport::SharedUdp,
};

/// Who we are as a server, and as a client.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) server: Arc<Identity>,
    pub(crate) client: Arc<Identity>,
}

/// A server and the means to dial from its port.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) listening: Listening,
    port: SharedUdp,
    keys: Keys,
}

impl Side {
    /// Serves `customEcho` on this address, by QUIC.
    pub(crate) async fn start(local: SocketAddr, keys: Keys) -> Result<Self, Box<dyn Error>> {
        let port = SharedUdp::bind(local)?;
        let server = Server::builder()
            .call(
                "customEcho",
                |context: Context, request: Message| async move {
                    let mut body = request.body.to_vec();
                    body.extend(format!(" was said by {}", context.remote_addr()).bytes());
                    Ok::<_, Infallible>(Message::from_body(body))
                },
            )
            .build();
        let config = ListenConfig::new()
            .identity(Arc::clone(&keys.server))
            .shared_udp(&port);
        let endpoint = format!("quic://{}", port.local_addr()?);
        Ok(Self {
            listening: server.listen(&endpoint, config).await?,
            port,
            keys,
        })
    }

    /// A client of the other side, dialled from the port that this side listens on.
    pub(crate) async fn dial(&self, remote: SocketAddr) -> Result<Client, Box<dyn Error>> {
        let client = Client::builder()
            .identity(Arc::clone(&self.keys.client))
            .shared_udp(&self.port)
            .connect(&format!("quic://{remote}"))
            .await?;
        Ok(client)
    }
}

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "it says where it listens and what came"
)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [certs, local, remote] = &arguments[..] else {
        return Err("usage: one_udp_port CERTS LOCAL REMOTE".into());
    };
    let keys = Keys {
        server: Arc::new(Identity::load(certs, "node")?),
        client: Arc::new(Identity::load(certs, "client")?),
    };
    let side = Side::start(local.parse()?, keys).await?;
    println!("listening on {}", side.listening.endpoint());
    let mut replies = 0;
    while replies < 2 {
        match side.dial(remote.parse()?).await {
            Ok(client) => {
                let reply = client.call(Message::request("customEcho", "hello")).await?;
                println!("{}", String::from_utf8_lossy(&reply.body));
                replies += 1;
            }
            Err(error) => {
                println!("{error}; trying again in 2 s");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
    tokio::signal::ctrl_c().await?;
    side.listening.shutdown(Duration::from_secs(2)).await;
    Ok(())
}
