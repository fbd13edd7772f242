//! The implementation for a type.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use syn::{GenericParam, Ident, parse_quote};

use crate::model::{Content, Key, NumberedField, NumberedVariant, Shape, Type};

/// The implementation, with the trait and its helpers in the module `path`.
pub(crate) fn implementation(model: &Type, path: &TokenStream) -> TokenStream {
    let (encode, decode) = match &model.shape {
        Shape::Map(fields, skipped) => {
            let values = fields.iter().map(|field| {
                let ident = &field.ident;
                quote!(&self.#ident)
            });
            (
                encode_map(&model.name, fields, values.collect(), path),
                decode_map(&quote!(Self), fields, skipped, path),
            )
        }
        Shape::Tuple(fields) => tuple(fields, path),
        Shape::Int(variants) => int(model, variants, path),
        Shape::OneOf(variants) => one_of(model, variants, path),
    };
    let mut generics = model.generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(#path::Greenpack));
        }
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let ident = &model.ident;
    quote! {
        #[automatically_derived]
        impl #impl_generics #path::Greenpack for #ident #type_generics #where_clause {
            fn encode_as(&self, form: #path::Form, out: &mut #path::derive::BytesMut) {
                #encode
            }

            fn decode(
                reader: &mut #path::Reader<'_>,
            ) -> ::core::result::Result<Self, #path::DecodeError> {
                reader.nested(|reader| { #decode })
            }
        }
    }
}

fn encode_map(
    name: &str,
    fields: &[NumberedField],
    values: Vec<TokenStream>,
    path: &TokenStream,
) -> TokenStream {
    let puts = fields.iter().zip(&values).map(|(field, value)| {
        let (key, name) = (text(&field.key.full()), &field.key.name);
        quote! {
            if #path::derive::is_written(#value, form) {
                #path::derive::key(out, form, #key, #name);
                #path::Greenpack::encode_as(#value, form, out);
            }
        }
    });
    let counts = values.iter().map(
        |value| quote!(+ ::core::primitive::usize::from(#path::derive::is_written(#value, form))),
    );
    quote! {
        #path::derive::begin_struct(out, form, 0 #(#counts)*, #name);
        #(#puts)*
    }
}

/// Reads the fields of `constructor`.
fn decode_map(
    constructor: &TokenStream,
    fields: &[NumberedField],
    skipped: &[Ident],
    path: &TokenStream,
) -> TokenStream {
    let slots: Vec<Ident> = (0..fields.len())
        .map(|n| format_ident!("field_{n}"))
        .collect();
    let idents: Vec<&Ident> = fields.iter().map(|field| &field.ident).collect();
    let types = fields.iter().map(|field| &field.ty);
    let arms = fields.iter().zip(&slots).map(|(field, slot)| {
        let patterns = patterns(&field.key);
        quote! {
            #patterns => #slot = ::core::option::Option::Some(#path::Greenpack::decode(reader)?),
        }
    });
    quote! {
        #(let mut #slots: ::core::option::Option<#types> = ::core::option::Option::None;)*
        for _ in 0..reader.map_header()?.unwrap_or(0) {
            match reader.key()? {
                #(#arms)*
                _ => reader.skip()?,
            }
        }
        ::core::result::Result::Ok(#constructor {
            #(#idents: #path::derive::or_zero(#slots)?,)*
            #(#skipped: ::core::default::Default::default(),)*
        })
    }
}

fn tuple(fields: &[(Option<Ident>, syn::Type)], path: &TokenStream) -> (TokenStream, TokenStream) {
    let len = fields.len();
    let members: Vec<TokenStream> = fields
        .iter()
        .enumerate()
        .map(|(place, (ident, _))| match ident {
            Some(ident) => quote!(#ident),
            None => {
                let place = Literal::usize_unsuffixed(place);
                quote!(#place)
            }
        })
        .collect();
    let encode = quote! {
        #path::write::array_header(out, #len);
        #(#path::Greenpack::encode_as(&self.#members, form, out);)*
    };
    let decode = quote! {
        let is_nil = !#path::derive::has_elements(reader, #len)?;
        ::core::result::Result::Ok(Self {
            #(#members: #path::derive::element(reader, is_nil)?,)*
        })
    };
    (encode, decode)
}

fn int(
    model: &Type,
    variants: &[(Ident, Option<syn::Expr>)],
    path: &TokenStream,
) -> (TokenStream, TokenStream) {
    let ident = &model.ident;
    let mut previous: Option<Ident> = None;
    let mut values = Vec::new();
    let mut names = Vec::new();
    for (place, (_, value)) in variants.iter().enumerate() {
        let name = format_ident!("VALUE_{place}");
        let value = match (value, &previous) {
            (Some(value), _) => quote!(#value),
            (None, Some(previous)) => quote!(#previous + 1),
            (None, None) => quote!(0),
        };
        values.push(quote! {
            const #name: ::core::primitive::i64 = #value;
        });
        previous = Some(name.clone());
        names.push(name);
    }
    let idents: Vec<&Ident> = variants.iter().map(|(ident, _)| ident).collect();
    let encode = quote! {
        #(#values)*
        let _ = form;
        #path::write::int(out, match self { #(#ident::#idents => #names,)* });
    };
    let decode = quote! {
        #(#values)*
        match reader.int()? {
            #(#names => ::core::result::Result::Ok(#ident::#idents),)*
            _ => ::core::result::Result::Err(#path::DecodeError::OutOfRange),
        }
    };
    (encode, decode)
}

fn one_of(
    model: &Type,
    variants: &[NumberedVariant],
    path: &TokenStream,
) -> (TokenStream, TokenStream) {
    let (ident, type_name) = (&model.ident, &model.name);
    let encodes = variants.iter().map(|variant| {
        let (name, key) = (&variant.ident, text(&variant.key.full()));
        let key_name = &variant.key.name;
        let begin = quote! {
            #path::derive::begin_struct(out, form, 1, #type_name);
            #path::derive::key(out, form, #key, #key_name);
        };
        match &variant.content {
            Content::Nothing => quote! {
                #ident::#name => {
                    #begin
                    #path::derive::begin_struct(out, form, 0, #key_name);
                }
            },
            Content::Value => quote! {
                #ident::#name(value) => {
                    #begin
                    #path::Greenpack::encode_as(value, form, out);
                }
            },
            Content::Fields(fields, _) => {
                let idents: Vec<&Ident> = fields.iter().map(|field| &field.ident).collect();
                let values = idents.iter().map(|ident| quote!(#ident)).collect();
                let map = encode_map(key_name, fields, values, path);
                quote! {
                    #ident::#name { #(#idents,)* .. } => {
                        #begin
                        #map
                    }
                }
            }
        }
    });
    let decodes = variants.iter().map(|variant| {
        let (name, patterns) = (&variant.ident, patterns(&variant.key));
        let value = match &variant.content {
            Content::Nothing => quote!({
                reader.skip()?;
                #ident::#name
            }),
            Content::Value => quote!(#ident::#name(#path::Greenpack::decode(reader)?)),
            Content::Fields(fields, skipped) => {
                let fields = decode_map(&quote!(#ident::#name), fields, skipped, path);
                quote! {
                    reader.nested(
                        |reader| -> ::core::result::Result<Self, #path::DecodeError> { #fields }
                    )?
                }
            }
        };
        quote!(#patterns => found = ::core::option::Option::Some(#value),)
    });
    let encode = quote!(match self { #(#encodes)* });
    let decode = quote! {
        let mut found = ::core::option::Option::None;
        for _ in 0..reader.map_header()?.unwrap_or(0) {
            match reader.key()? {
                #(#decodes)*
                _ => reader.skip()?,
            }
        }
        found.ok_or(#path::DecodeError::UnknownVariant)
    };
    (encode, decode)
}

/// What is read as this key: its full form, or its name where names are enough.
fn patterns(key: &Key) -> TokenStream {
    let bytes = |name: &str| Literal::byte_string(name.as_bytes());
    let full = bytes(&key.full());
    let mut names = vec![bytes(&key.name)];
    if key.rust_name != key.name {
        names.push(bytes(&key.rust_name));
    }
    quote! {
        ::core::option::Option::Some(name)
            if name == #full || (reader.takes_names() && (#(name == #names)||*))
    }
}

/// Text with its header before it (docs/wire G4).
fn text(key: &str) -> Literal {
    let mut bytes = match u8::try_from(key.len()) {
        Ok(short @ 0..=31) => vec![0xa0 | short],
        Ok(len) => vec![0xd9, len],
        Err(_) => {
            let len = u16::try_from(key.len()).unwrap_or(u16::MAX);
            let mut header = vec![0xda];
            header.extend(len.to_be_bytes());
            header
        }
    };
    bytes.extend_from_slice(key.as_bytes());
    Literal::byte_string(&bytes)
}
