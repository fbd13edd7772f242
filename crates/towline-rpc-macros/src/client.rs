//! `TraitClient`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Ident, Type};

use crate::model::{Method, Service};

pub(crate) fn client(service: &Service) -> TokenStream {
    let Service {
        path,
        visibility,
        ident,
        ..
    } = service;
    let client = format_ident!("{ident}Client");
    let methods = service.methods.iter().map(|method| call(method, service));
    let text = format!(
        " Calls the methods of [`{ident}`] over a connection or a pool of them. Cheap to clone, for any number of tasks at once."
    );
    quote! {
        #[doc = #text]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #visibility struct #client {
            caller: #path::service::Caller,
        }

        #[allow(dead_code, reason = "a program calls the methods that it needs")]
        impl #client {
            /// Calls over this connection or pool, or as a [`Caller`](#path::service::Caller) says.
            #visibility fn new(caller: impl ::core::convert::Into<#path::service::Caller>) -> Self {
                Self { caller: caller.into() }
            }

            /// What it calls through.
            #visibility fn caller(&self) -> &#path::service::Caller {
                &self.caller
            }

            /// How long a call may take.
            #[must_use]
            #visibility fn with_timeout(
                self,
                limit: ::core::option::Option<::core::time::Duration>,
            ) -> Self {
                Self { caller: self.caller.with_timeout(limit) }
            }

            /// How often a call over a pool is made at most.
            #[must_use]
            #visibility fn with_attempts(self, attempts: u32) -> Self {
                Self { caller: self.caller.with_attempts(attempts) }
            }

            /// Says something beside the arguments with every call.
            #[must_use]
            #visibility fn with_metadata(self, name: &str, value: &str) -> Self {
                Self { caller: self.caller.with_metadata(name, value) }
            }

            /// How values become bodies.
            #[must_use]
            #visibility fn with_encoding(self, encoding: #path::service::Encoding) -> Self {
                Self { caller: self.caller.with_encoding(encoding) }
            }

            #(#methods)*
        }
    }
}

fn call(method: &Method, service: &Service) -> TokenStream {
    let Service {
        path, visibility, ..
    } = service;
    let ident = &method.ident;
    let attributes = &method.attributes;
    let name = format!("{}.{}", service.name, method.name);
    let names: Vec<&Ident> = method.arguments.iter().map(|(name, _)| name).collect();
    let types: Vec<&Type> = method.arguments.iter().map(|(_, ty)| ty).collect();
    let (value, error) = (&method.returns.value, method.error(path));
    let (stream, items) = match &method.incoming {
        Some((name, item)) => {
            let bound = quote! {
                impl #path::service::generated::Stream<Item = #item> + ::core::marker::Send
            };
            let bound = if method.returns.is_stream {
                quote!(#bound + 'static)
            } else {
                bound
            };
            (quote!(#name: #bound), quote!(, #name))
        }
        None => (quote!(), quote!()),
    };
    let (kind, returned) = match (&method.incoming, method.returns.is_stream) {
        (None, false) if method.is_idempotent => (quote!(unary_idempotent), quote!(#value)),
        (None, false) => (quote!(unary), quote!(#value)),
        (Some(_), false) => (quote!(upload), quote!(#value)),
        (None, true) => (
            quote!(download),
            quote!(#path::service::Items<#value, #error>),
        ),
        (Some(_), true) => (
            quote!(bistream),
            quote!(#path::service::Items<#value, #error>),
        ),
    };
    quote! {
        #(#attributes)*
        #visibility async fn #ident(
            &self,
            #(#names: #types,)*
            #stream
        ) -> ::core::result::Result<#returned, #path::service::ServiceError<#error>> {
            self.caller.#kind(#name, &(#(#names,)*) #items).await
        }
    }
}
