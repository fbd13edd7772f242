//! `TraitMock`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;

use crate::{
    model::{Method, Service},
    server::{hygienic, inputs, signature},
};

pub(crate) fn mock(service: &Service) -> TokenStream {
    let Service {
        path,
        visibility,
        ident,
        ..
    } = service;
    let mock = format_ident!("{ident}Mock");
    let text = format!(
        " An implementation of [`{ident}`] for tests: each method does what it was given. One that was given \
         nothing panics."
    );
    let slots = service.methods.iter().map(|method| {
        let ident = &method.ident;
        let function = function(method, path);
        quote!(#ident: ::core::option::Option<::std::boxed::Box<#function>>)
    });
    let setters = service.methods.iter().map(|method| setter(method, service));
    let methods = service.methods.iter().map(|method| {
        let slot = &method.ident;
        let (names, _) = inputs(method, path);
        let [answer, cx] = ["answer", "cx"].map(hygienic);
        let signature = signature(method, path);
        let missing = format!(
            "the mock of {} was given nothing to answer {}: call on_{}",
            service.ident, method.ident, method.ident
        );
        let call = quote! {
            match &self.#slot {
                ::core::option::Option::Some(#answer) => #answer(#cx.clone(), #(#names),*),
                ::core::option::Option::None => ::core::panic!(#missing),
            }
        };
        quote! {
            #signature {
                #call
            }
        }
    });
    quote! {
        #[doc = #text]
        #[derive(::core::default::Default)]
        #[allow(dead_code, reason = "a program tests what it needs")]
        #visibility struct #mock {
            #(#slots,)*
        }

        impl ::core::fmt::Debug for #mock {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(::core::stringify!(#mock))
            }
        }

        #[allow(dead_code, reason = "a program tests what it needs")]
        impl #mock {
            /// A mock that answers nothing yet.
            #[must_use]
            #visibility fn new() -> Self {
                ::core::default::Default::default()
            }

            #(#setters)*
        }

        impl #ident for #mock {
            #(#methods)*
        }
    }
}

/// What a mock keeps for a method.
fn function(method: &Method, path: &TokenStream) -> TokenStream {
    let (_, types) = inputs(method, path);
    let returned = boxed(method, path);
    quote! {
        dyn ::core::ops::Fn(#path::Context, #(#types),*) -> #returned
            + ::core::marker::Send
            + ::core::marker::Sync
    }
}

fn boxed(method: &Method, path: &TokenStream) -> TokenStream {
    let output = output(method);
    if method.returns.is_stream {
        quote!(#path::service::generated::BoxStream<'static, #output>)
    } else {
        quote!(#path::service::generated::BoxFuture<'static, #output>)
    }
}

/// What the method returns, or the items of its stream.
fn output(method: &Method) -> TokenStream {
    let value = &method.returns.value;
    match &method.returns.error {
        Some(error) => quote!(::core::result::Result<#value, #error>),
        None => quote!(#value),
    }
}

fn setter(method: &Method, service: &Service) -> TokenStream {
    let Service {
        path, visibility, ..
    } = service;
    let slot = &method.ident;
    let name = format_ident!("on_{}", slot);
    let (names, types): (Vec<Ident>, Vec<TokenStream>) = inputs(method, path);
    let output = output(method);
    let [answer, cx] = ["answer", "cx"].map(hygienic);
    let (bound, text) = if method.returns.is_stream {
        (
            quote!(#path::service::generated::Stream<Item = #output> + ::core::marker::Send + 'static),
            format!(" What `{slot}` returns: a stream for each call."),
        )
    } else {
        (
            quote!(::core::future::Future<Output = #output> + ::core::marker::Send + 'static),
            format!(" What `{slot}` does: a future for each call."),
        )
    };
    quote! {
        #[doc = #text]
        #[must_use]
        #visibility fn #name<__Answer, __Returned>(mut self, #answer: __Answer) -> Self
        where
            __Answer: ::core::ops::Fn(#path::Context, #(#types),*) -> __Returned
                + ::core::marker::Send
                + ::core::marker::Sync
                + 'static,
            __Returned: #bound,
        {
            self.#slot = ::core::option::Option::Some(::std::boxed::Box::new(
                move |#cx, #(#names),*| ::std::boxed::Box::pin(#answer(#cx, #(#names),*)),
            ));
            self
        }
    }
}
