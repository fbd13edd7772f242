//! The trait itself, and what serves an implementation of it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Ident, Type};

use crate::model::{Method, Service, shown};

/// The trait as implementations see it.
pub(crate) fn declaration(service: &Service) -> TokenStream {
    let Service {
        path,
        visibility,
        ident,
        attributes,
        ..
    } = service;
    let methods = service.methods.iter().map(|method| {
        let signature = signature(method, path);
        let attributes = &method.attributes;
        quote! {
            #(#attributes)*
            #signature;
        }
    });
    quote! {
        #(#attributes)*
        #visibility trait #ident:
            ::core::marker::Send + ::core::marker::Sync + ::core::marker::Sized + 'static
        {
            #(#methods)*
        }
    }
}

/// A name of generated code: arguments of the same name are others.
pub(crate) fn hygienic(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The method without its body. An `async fn` may implement it.
pub(crate) fn signature(method: &Method, path: &TokenStream) -> TokenStream {
    let ident = &method.ident;
    let cx = hygienic("cx");
    let (names, types) = inputs(method, path);
    let declared = &method.returns.declared;
    let returns = if method.returns.is_stream {
        quote!(#declared + ::core::marker::Send)
    } else {
        quote! {
            impl ::core::future::Future<Output = #declared> + ::core::marker::Send
        }
    };
    quote! {
        fn #ident(&self, #cx: &#path::Context, #(#names: #types),*) -> #returns
    }
}

/// All arguments, the stream included.
pub(crate) fn inputs(method: &Method, path: &TokenStream) -> (Vec<Ident>, Vec<TokenStream>) {
    let values = method
        .arguments
        .iter()
        .map(|(name, ty)| (name.clone(), quote!(#ty)));
    let stream = method
        .incoming
        .iter()
        .map(|(name, item)| (name.clone(), quote!(#path::service::Incoming<#item>)));
    values.chain(stream).unzip()
}

/// `TraitServer`.
pub(crate) fn implementation(service: &Service) -> TokenStream {
    let Service {
        path,
        visibility,
        ident,
        name,
        ..
    } = service;
    let server = format_ident!("{ident}Server");
    let docs = service.docs();
    let text = format!(
        " Serves an implementation of [`{ident}`]: for `ServerBuilder::service`. Clones serve the same one."
    );
    let registrations = service
        .methods
        .iter()
        .map(|method| registration(method, ident, path));
    quote! {
        #[doc = #text]
        #visibility struct #server<__Service>(#path::service::generated::Arc<__Service>);

        impl<__Service: #ident> #server<__Service> {
            /// Serves this implementation.
            #visibility fn new(implementation: __Service) -> Self {
                Self(#path::service::generated::Arc::new(implementation))
            }

            /// Serves an implementation that others have, too.
            #visibility fn shared(implementation: #path::service::generated::Arc<__Service>) -> Self {
                Self(implementation)
            }
        }

        impl<__Service> ::core::clone::Clone for #server<__Service> {
            fn clone(&self) -> Self {
                Self(#path::service::generated::Arc::clone(&self.0))
            }
        }

        impl<__Service> ::core::fmt::Debug for #server<__Service> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(::core::stringify!(#server))
            }
        }

        impl<__Service: #ident> #path::service::TypedService for #server<__Service> {
            fn register(self, registry: &mut #path::service::Registry) {
                registry.service(#name, #docs);
                #(#registrations)*
            }
        }
    }
}

fn registration(method: &Method, service: &Ident, path: &TokenStream) -> TokenStream {
    let ident = &method.ident;
    let (name, docs) = (&method.name, method.docs());
    let returns = shown(&method.returns.declared);
    let mut shown_arguments: Vec<String> = method
        .arguments
        .iter()
        .map(|(name, ty)| format!("{name}: {}", shown(ty)))
        .collect();
    if let Some((name, item)) = &method.incoming {
        shown_arguments.push(format!("{name}: Incoming<{}>", shown(item)));
    }
    let info = quote! {
        #path::service::MethodInfo {
            name: #name.to_owned(),
            docs: #docs.to_owned(),
            arguments: ::std::vec![#(#shown_arguments.to_owned()),*],
            returns: #returns.to_owned(),
            ..::core::default::Default::default()
        }
    };
    let names: Vec<&Ident> = method.arguments.iter().map(|(name, _)| name).collect();
    let types: Vec<&Type> = method.arguments.iter().map(|(_, ty)| ty).collect();
    let error = method.error(path);
    let value = &method.returns.value;
    let (stream, stream_name) = match &method.incoming {
        Some((name, item)) => (quote!(, #name: #path::service::Incoming<#item>), Some(name)),
        None => (quote!(), None),
    };
    let kind = match (&method.incoming, method.returns.is_stream) {
        (None, false) => quote!(unary),
        (Some(_), false) => quote!(upload),
        (None, true) => quote!(download),
        (Some(_), true) => quote!(bistream),
    };
    let [implementation, cx, out] = ["implementation", "cx", "out"].map(hygienic);
    let call = quote!(#service::#ident(&*#implementation, &#cx, #(#names,)* #stream_name));
    let (out_argument, run) = match (method.returns.is_stream, &method.returns.error) {
        (false, Some(_)) => (quote!(), quote!(#call.await)),
        (false, None) => (
            quote!(),
            quote!(::core::result::Result::<_, #error>::Ok(#call.await)),
        ),
        (true, Some(_)) => (
            quote!(, #out: #path::service::Outgoing<#value, #error>),
            quote!(#out.send_all(#call).await),
        ),
        (true, None) => (
            quote!(, #out: #path::service::Outgoing<#value, #error>),
            quote! {
                #out.send_all(#path::service::generated::StreamExt::map(
                    #call,
                    ::core::result::Result::<_, #error>::Ok,
                )).await
            },
        ),
    };
    quote! {
        let #implementation = #path::service::generated::Arc::clone(&self.0);
        registry.#kind(
            #info,
            move |#cx: #path::Context, (#(#names,)*): (#(#types,)*) #stream #out_argument| {
                let #implementation = #path::service::generated::Arc::clone(&#implementation);
                async move { #run }
            },
        );
    }
}
