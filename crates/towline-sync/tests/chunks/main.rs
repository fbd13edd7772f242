//! Chunks and manifests against what the original made of the same bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cuts;
#[path = "../files/inputs.rs"]
mod inputs;
mod manifests;
mod steps;
