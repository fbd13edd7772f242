//! The example `rpc_over_anything`: calls through yamux through TLS, and over a simulated network.

#![cfg(feature = "sim")]

#[path = "../examples/rpc_over_anything.rs"]
#[expect(dead_code, reason = "its main is for users")]
mod rpc_over_anything;

use std::time::Duration;

use rpc_over_anything::{in_virtual_time, through_tls};

#[tokio::test]
async fn a_call_through_yamux_through_tls_knows_its_caller() {
    assert_eq!(through_tls().await.unwrap(), "HELLO, ada@example.com");
}

fn run(seed: u64) -> Vec<(Duration, String)> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(in_virtual_time(seed)).expect("answers")
}

#[test]
fn calls_over_a_simulated_network_are_the_same_at_every_run_of_a_seed() {
    let first = run(1);
    assert_eq!(first[0].1, "GOOD, sim://server@1");
    assert_eq!(first[1].1, "MORNING, sim://server@1");
    // There and back, for connecting and for each call.
    assert!(first[1].0 >= Duration::from_millis(6 * 120), "{first:?}");
    assert_eq!(first, run(1));
    assert_ne!(first, run(2));
}
