//! Typed services over a pool.

use super::*;
use towline_rpc::service::ServiceError;

#[towline_rpc::service]
trait Stock {
    /// How much there is.
    #[idempotent]
    async fn level(&self, cx: &Context, item: u64) -> Result<u64, String>;
    /// Takes one.
    async fn take(&self, cx: &Context, item: u64) -> Result<u64, String>;
}

struct Shelf(Arc<AtomicUsize>);

impl Shelf {
    /// The first call is not answered.
    async fn answer(&self) -> Result<u64, String> {
        let number = self.0.fetch_add(1, SeqCst) as u64 + 1;
        if number == 1 {
            std::future::pending::<()>().await;
        }
        Ok(number)
    }
}

impl Stock for Shelf {
    async fn level(&self, _: &Context, _: u64) -> Result<u64, String> {
        self.answer().await
    }

    async fn take(&self, _: &Context, _: u64) -> Result<u64, String> {
        self.answer().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_method_is_called_again_and_another_is_not() {
    for idempotent in [true, false] {
        let network = network(1);
        let shelf = StockServer::new(Shelf(Arc::default()));
        let server = Server::builder().service(shelf).expect("one of its name");
        let _at = At::serve(&network, "a", server);
        let pool = pool(&network).address("a").build().expect("valid");
        let stock = StockClient::new(pool);
        let call = tokio::spawn(async move {
            if idempotent {
                stock.level(7).await
            } else {
                stock.take(7).await
            }
        });
        after(Duration::from_secs(1)).await;
        network.cut();
        match (idempotent, call.await.expect("no panic")) {
            (true, Ok(2)) | (false, Err(ServiceError::Call(CallError::Closed(_)))) => {}
            other => panic!("{other:?}"),
        }
    }
}
