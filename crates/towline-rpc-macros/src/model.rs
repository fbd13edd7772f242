//! What a trait says, checked. All mistakes are reported at once.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, Ident, ItemTrait, Lit, LitStr, Meta,
    Pat, PathArguments, ReceiverKind, Result, ReturnType, TraitItem, TraitItemFn, Type,
    TypeParamBound, Visibility, parse::Parser as _, spanned::Spanned as _,
};

/// A trait of which a service is made.
pub(crate) struct Service {
    pub(crate) path: TokenStream,
    pub(crate) visibility: Visibility,
    pub(crate) ident: Ident,
    /// On the wire.
    pub(crate) name: String,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) methods: Vec<Method>,
}

pub(crate) struct Method {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) ident: Ident,
    /// On the wire, behind the dot.
    pub(crate) name: String,
    /// Without the stream.
    pub(crate) arguments: Vec<(Ident, Type)>,
    /// The stream that the client sends: what it is called, and the type of its items.
    pub(crate) incoming: Option<(Ident, Type)>,
    pub(crate) returns: Returns,
    /// It may be carried out more than once without harm.
    pub(crate) is_idempotent: bool,
}

pub(crate) struct Returns {
    /// Of the value, or of the stream's items.
    pub(crate) value: Type,
    pub(crate) error: Option<Type>,
    pub(crate) is_stream: bool,
    /// As the trait has it.
    pub(crate) declared: Type,
}

/// Methods that every client has.
const TAKEN: [&str; 6] = [
    "new",
    "caller",
    "with_attempts",
    "with_encoding",
    "with_metadata",
    "with_timeout",
];

impl Service {
    pub(crate) fn parse(
        attribute: TokenStream,
        item: &ItemTrait,
        path: TokenStream,
    ) -> Result<Self> {
        let mut errors = Errors::default();
        let name = errors
            .check(name_in(attribute))
            .flatten()
            .unwrap_or_else(|| item.ident.to_string());
        if !item.generics.params.is_empty() {
            errors.add(
                item.generics.span(),
                "a service has no type parameters: what it works with is up to the type that implements it",
            );
        }
        let mut methods = Vec::new();
        for item in &item.items {
            match item {
                TraitItem::Fn(function) => {
                    methods.extend(errors.check(Method::parse(function)));
                }
                other => errors.add(
                    other.span(),
                    "a service has methods and nothing else: move this to the type that implements it",
                ),
            }
        }
        let mut names = BTreeMap::new();
        for method in &methods {
            if names.insert(method.name.clone(), ()).is_some() {
                errors.add(
                    method.ident.span(),
                    &format!("two methods are called `{}` on the wire", method.name),
                );
            }
        }
        if methods.is_empty() && errors.is_empty() {
            errors.add(item.ident.span(), "a service has at least one method");
        }
        errors.finish(Self {
            path,
            visibility: item.vis.clone(),
            ident: item.ident.clone(),
            name,
            attributes: item.attrs.clone(),
            methods,
        })
    }

    /// What the author says of it.
    pub(crate) fn docs(&self) -> String {
        docs(&self.attributes)
    }
}

impl Method {
    fn parse(function: &TraitItemFn) -> Result<Self> {
        let mut errors = Errors::default();
        let signature = &function.sig;
        if let Some(body) = &function.default {
            errors.add(
                body.span(),
                "a method of a service has no body: what it does is up to the type that implements it",
            );
        }
        if !signature.generics.params.is_empty() {
            errors.add(
                signature.generics.span(),
                "a method of a service has no type parameters: the other end must know its types",
            );
        }
        if TAKEN.contains(&&*signature.ident.to_string()) {
            errors.add(
                signature.ident.span(),
                "every client has a method of this name: call this one otherwise, or keep its name on the \
                 wire by `#[service(name = \"…\")]`",
            );
        }
        let mut inputs = signature.inputs.iter();
        match inputs.next() {
            Some(FnArg::Receiver(receiver))
                if matches!(receiver.kind, ReceiverKind::Reference(_, _, None)) => {}
            other => errors.add(
                other.map_or_else(|| signature.span(), |argument| argument.span()),
                "a method of a service begins with `&self`: many calls run at once",
            ),
        }
        match inputs.next() {
            Some(FnArg::Typed(argument)) if is_context(&argument.ty) => {}
            other => errors.add(
                other.map_or_else(|| signature.ident.span(), |argument| argument.span()),
                "behind `&self` comes the context, who calls and how: write `cx: &Context`",
            ),
        }
        let mut arguments = Vec::new();
        let mut incoming = None;
        for input in inputs {
            let FnArg::Typed(input) = input else { continue };
            let Pat::Ident(name) = &*input.pat else {
                errors.add(input.pat.span(), "an argument needs a name of its own");
                continue;
            };
            let ident = name.ident.clone();
            if incoming.is_some() {
                errors.add(
                    input.span(),
                    "the stream is the last argument, and there is one at most: put what belongs \
                     together into one type",
                );
                continue;
            }
            match &*input.ty {
                Type::Reference(_) => errors.add(
                    input.ty.span(),
                    "arguments travel, so they are owned: write `String` for `&str`, `Vec<T>` for `&[T]`",
                ),
                Type::ImplTrait(_) => errors.add(
                    input.ty.span(),
                    "a stream that the method takes is written `Incoming<T>`; the client takes any \
                     `impl Stream<Item = T>`",
                ),
                ty => match argument_of(ty, "Incoming") {
                    Some(item) => incoming = Some((ident, item)),
                    None => arguments.push((ident, ty.clone())),
                },
            }
        }
        if arguments.len() > 6 {
            errors.add(
                signature.ident.span(),
                "a method has six arguments at most: put them into a struct, which can grow",
            );
        }
        let returns = errors.check(Returns::parse(function));
        let name = errors.check(name_of(&function.attrs)).flatten();
        let idempotent = function
            .attrs
            .iter()
            .find(|attribute| attribute.path().is_ident("idempotent"));
        if let Some(attribute) = idempotent {
            if !matches!(attribute.meta, Meta::Path(_)) {
                errors.add(
                    attribute.span(),
                    "write `#[idempotent]`, with nothing behind it",
                );
            }
            if incoming.is_some() || returns.as_ref().is_some_and(|returns| returns.is_stream) {
                errors.add(
                    attribute.span(),
                    "a method with streams is never called again by itself: what was sent and taken would be lost; \
                     take `#[idempotent]` off",
                );
            }
        }
        let Some(returns) = returns else {
            return Err(errors.into_error(signature.ident.span()));
        };
        errors.finish(Self {
            attributes: function
                .attrs
                .iter()
                .filter(|attribute| {
                    !attribute.path().is_ident("service")
                        && !attribute.path().is_ident("idempotent")
                })
                .cloned()
                .collect(),
            name: name.unwrap_or_else(|| signature.ident.to_string()),
            ident: signature.ident.clone(),
            arguments,
            incoming,
            returns,
            is_idempotent: idempotent.is_some(),
        })
    }

    pub(crate) fn docs(&self) -> String {
        docs(&self.attributes)
    }

    /// The error type: one that cannot be made for methods that cannot fail.
    pub(crate) fn error(&self, path: &TokenStream) -> TokenStream {
        match &self.returns.error {
            Some(error) => quote!(#error),
            None => quote!(#path::service::NoError),
        }
    }
}

impl Returns {
    fn parse(function: &TraitItemFn) -> Result<Self> {
        let signature = &function.sig;
        let unit: Type = syn::parse_quote!(());
        let declared = match &signature.output {
            ReturnType::Default => unit,
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        let item = stream_item(&declared)?;
        let is_stream = item.is_some();
        match (&signature.asyncness, is_stream) {
            (Some(token), true) => {
                return Err(Error::new(
                    token.span(),
                    "a method that returns a stream is no `async fn`: the stream may wait instead",
                ));
            }
            (None, false) => {
                return Err(Error::new(
                    signature.fn_token.span(),
                    "write `async fn`, or return a stream: `impl Stream<Item = T>`",
                ));
            }
            _ => {}
        }
        let returned = item.unwrap_or_else(|| declared.clone());
        let (value, error) = result_of(&returned)?;
        Ok(Self {
            value,
            error,
            is_stream,
            declared,
        })
    }
}

/// The value and the error of a `Result`; of anything else itself, and nothing.
fn result_of(ty: &Type) -> Result<(Type, Option<Type>)> {
    let Type::Path(path) = ty else {
        return Ok((ty.clone(), None));
    };
    let Some(last) = path
        .path
        .segments
        .last()
        .filter(|last| last.ident == "Result")
    else {
        return Ok((ty.clone(), None));
    };
    match types_of(&last.arguments)[..] {
        [ref value, ref error] => Ok((value.clone(), Some(error.clone()))),
        _ => Err(Error::new(
            ty.span(),
            "write both types, `Result<T, E>`: the error travels, too, and is made of its own form there",
        )),
    }
}

/// The items of an `impl Stream<Item = T>`.
fn stream_item(ty: &Type) -> Result<Option<Type>> {
    let Type::ImplTrait(bounds) = ty else {
        return Ok(None);
    };
    let explain = || {
        let message = "a method returns a value or `impl Stream<Item = T>`";
        Error::new(ty.span(), message)
    };
    let last = bounds
        .bounds
        .iter()
        .find_map(|bound| match bound {
            TypeParamBound::Trait(bound) => bound.path.segments.last(),
            _ => None,
        })
        .filter(|last| last.ident == "Stream")
        .ok_or_else(explain)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return Err(explain());
    };
    arguments
        .args
        .iter()
        .find_map(|argument| match argument {
            GenericArgument::AssocType(item) if item.ident == "Item" => Some(item.ty.clone()),
            _ => None,
        })
        .map(Some)
        .ok_or_else(explain)
}

fn is_context(ty: &Type) -> bool {
    match ty {
        Type::Reference(reference) if reference.mutability.is_none() => match &*reference.elem {
            Type::Path(path) => path
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "Context"),
            _ => false,
        },
        _ => false,
    }
}

/// The `T` of a `Name<T>`.
fn argument_of(ty: &Type, name: &str) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let last = path
        .path
        .segments
        .last()
        .filter(|last| last.ident == name)?;
    types_of(&last.arguments).into_iter().next()
}

fn types_of(arguments: &PathArguments) -> Vec<Type> {
    match arguments {
        PathArguments::AngleBracketed(arguments) => arguments
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The `name = "…"` of an attribute.
fn name_in(tokens: TokenStream) -> Result<Option<String>> {
    let mut name = None;
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("name") {
            let text: LitStr = meta.value()?.parse()?;
            if text.value().is_empty() {
                return Err(Error::new(text.span(), "a name has letters"));
            }
            name = Some(text.value());
            Ok(())
        } else {
            Err(meta.error("unknown: there is `name = \"…\"`, the name on the wire"))
        }
    });
    parser.parse2(tokens)?;
    Ok(name)
}

fn name_of(attributes: &[Attribute]) -> Result<Option<String>> {
    for attribute in attributes {
        if attribute.path().is_ident("service") {
            let Meta::List(list) = &attribute.meta else {
                return Err(Error::new(
                    attribute.span(),
                    "write `#[service(name = \"…\")]`",
                ));
            };
            let name = name_in(list.tokens.clone())?;
            if let Some(name) = name.as_ref().filter(|name| name.contains('.')) {
                let message = format!("`{name}` has a dot: only names of services may");
                return Err(Error::new(list.span(), message));
            }
            return Ok(name);
        }
    }
    Ok(None)
}

fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        });
    lines.collect::<Vec<_>>().join("\n")
}

/// A type as one would write it.
pub(crate) fn shown(ty: &Type) -> String {
    let text = ty.to_token_stream().to_string();
    [
        (" < ", "<"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" :: ", "::"),
        ("& ", "&"),
        ("( )", "()"),
    ]
    .iter()
    .fold(text, |text, (from, to)| text.replace(from, to))
}

/// Mistakes, gathered.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, at: proc_macro2::Span, message: &str) {
        self.push(Error::new(at, message));
    }

    fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn check<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn finish<T>(self, value: T) -> Result<T> {
        self.0.map_or(Ok(value), Err)
    }

    fn into_error(self, at: proc_macro2::Span) -> Error {
        self.0
            .unwrap_or_else(|| Error::new(at, "a method that is no method"))
    }
}
