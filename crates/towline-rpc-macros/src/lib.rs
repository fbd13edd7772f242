//! `#[service]`, documented at the module `towline_rpc::service`.

mod client;
mod mock;
mod model;
mod server;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemTrait, parse_macro_input};

/// Makes a typed service of a trait: besides the trait a server `TraitServer`, a client `TraitClient` and a mock
/// `TraitMock`. See the module `towline_rpc::service`.
///
/// `#[service(name = "Store.v2")]` names the service on the wire; by default it has the trait's name.
/// Attributes of a method: `#[service(name = "Get")]`, its name on the wire; `#[idempotent]`, it does no harm if it is
/// carried out more than once, so that a pool may call it again when a connection is lost.
#[proc_macro_attribute]
pub fn service(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(attribute, item, quote!(::towline_rpc))
}

/// As `service`, for who depends on the crate `towline` alone: it is `towline::service`.
#[proc_macro_attribute]
pub fn service_of_towline(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand(attribute, item, quote!(::towline::rpc))
}

fn expand(
    attribute: TokenStream,
    item: TokenStream,
    path: proc_macro2::TokenStream,
) -> TokenStream {
    let item = parse_macro_input!(item as ItemTrait);
    match model::Service::parse(attribute.into(), &item, path) {
        Ok(service) => {
            let parts = [
                server::declaration(&service),
                server::implementation(&service),
                client::client(&service),
                mock::mock(&service),
            ];
            quote!(#(#parts)*).into()
        }
        Err(error) => error.to_compile_error().into(),
    }
}
