//! `#[derive(Greenpack)]`, documented at the trait `towline_codec::greenpack::Greenpack`.

mod model;
mod render;

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

/// Gives a struct or an enum its form in greenpack: see the trait of the same name, in
/// `towline_codec::greenpack`.
#[proc_macro_derive(Greenpack, attributes(greenpack, zid))]
pub fn derive_greenpack(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive(&input, quote!(::towline_codec::greenpack))
}

/// As `Greenpack`, for who depends on the crate `towline` alone: it is `towline::Greenpack`.
#[proc_macro_derive(GreenpackOfTowline, attributes(greenpack, zid))]
pub fn derive_greenpack_of_towline(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive(&input, quote!(::towline::codec::greenpack))
}

fn derive(input: &DeriveInput, path: proc_macro2::TokenStream) -> TokenStream {
    model::Type::parse(input)
        .map(|model| render::implementation(&model, &path))
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
