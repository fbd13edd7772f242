//! What a type's declaration says, checked.

use proc_macro2::Span;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, Fields, GenericArgument, Generics, Ident,
    LitInt, LitStr, PathArguments, Result, Type as RustType, Variant, spanned::Spanned as _,
};

/// A type for which the trait is derived.
pub(crate) struct Type {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    /// What the streaming form calls it (docs/wire G13).
    pub(crate) name: String,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    /// A map with a key for each field (docs/wire G9).
    Map(Vec<NumberedField>, Vec<Ident>),
    /// An array of all fields (docs/wire G14); without a name, by place.
    Tuple(Vec<(Option<Ident>, RustType)>),
    /// A signed integer, of the variant's own value.
    Int(Vec<(Ident, Option<Expr>)>),
    /// A map with one entry.
    OneOf(Vec<NumberedVariant>),
}

/// A field with its number.
pub(crate) struct NumberedField {
    pub(crate) ident: Ident,
    pub(crate) ty: RustType,
    pub(crate) key: Key,
}

/// A variant with its number.
pub(crate) struct NumberedVariant {
    pub(crate) ident: Ident,
    pub(crate) key: Key,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Nothing,
    Value,
    Fields(Vec<NumberedField>, Vec<Ident>),
}

/// How a field is named on the wire.
pub(crate) struct Key {
    pub(crate) name: String,
    /// What it is called in Rust.
    pub(crate) rust_name: String,
    pub(crate) zid: u32,
    pub(crate) clue: String,
}

impl Key {
    /// docs/wire G9
    pub(crate) fn full(&self) -> String {
        format!("{}_zid{:02}_{}", self.name, self.zid, self.clue)
    }
}

impl Type {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let options = Options::parse(&input.attrs)?;
        options.refuse_of_fields(input.ident.span())?;
        let shape = match &input.data {
            Data::Struct(data) => match &data.fields {
                Fields::Named(fields) if options.tuple => Shape::Tuple(
                    fields
                        .named
                        .iter()
                        .map(|field| (field.ident.clone(), field.ty.clone()))
                        .collect(),
                ),
                Fields::Named(fields) => {
                    let (numbered, skipped) = numbered(fields.named.iter())?;
                    Shape::Map(numbered, skipped)
                }
                Fields::Unnamed(fields) => Shape::Tuple(
                    fields
                        .unnamed
                        .iter()
                        .map(|field| (None, field.ty.clone()))
                        .collect(),
                ),
                Fields::Unit => Shape::Map(Vec::new(), Vec::new()),
            },
            Data::Enum(data) if options.int => {
                let variants = data
                    .variants
                    .iter()
                    .map(integer)
                    .collect::<Result<Vec<_>>>()?;
                Shape::Int(variants)
            }
            Data::Enum(data) => {
                let variants = data
                    .variants
                    .iter()
                    .map(variant)
                    .collect::<Result<Vec<_>>>()?;
                check_numbers(
                    variants
                        .iter()
                        .map(|variant| (&variant.ident, variant.key.zid)),
                    "variant",
                )?;
                Shape::OneOf(variants)
            }
            Data::Union(data) => {
                let message = "a union has no form in greenpack: make it an enum";
                return Err(Error::new(data.union_token.span, message));
            }
        };
        Ok(Self {
            name: options.name.unwrap_or_else(|| input.ident.to_string()),
            ident: input.ident.clone(),
            generics: input.generics.clone(),
            shape,
        })
    }
}

/// What attributes say.
#[derive(Default)]
struct Options {
    zid: Option<LitInt>,
    name: Option<String>,
    clue: Option<String>,
    skip: bool,
    tuple: bool,
    int: bool,
}

impl Options {
    fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes {
            if attribute.path().is_ident("zid") {
                options.zid = Some(attribute.parse_args()?);
            } else if attribute.path().is_ident("greenpack") {
                attribute.parse_nested_meta(|meta| {
                    if meta.path.is_ident("name") {
                        options.name = Some(meta.value()?.parse::<LitStr>()?.value());
                    } else if meta.path.is_ident("clue") {
                        let clue = meta.value()?.parse::<LitStr>()?;
                        if clue.value().len() != 3 {
                            return Err(Error::new(
                                clue.span(),
                                "a clue has three letters, as `int` or `rct`",
                            ));
                        }
                        options.clue = Some(clue.value());
                    } else if meta.path.is_ident("skip") {
                        options.skip = true;
                    } else if meta.path.is_ident("tuple") {
                        options.tuple = true;
                    } else if meta.path.is_ident("int") {
                        options.int = true;
                    } else {
                        return Err(meta.error(
                            "unknown: there are `name = \"…\"` and `clue = \"…\"` and `skip` for \
                             fields, `name = \"…\"`, `tuple` and `int` for types",
                        ));
                    }
                    Ok(())
                })?;
            }
        }
        Ok(options)
    }

    /// A type has no number of its own.
    fn refuse_of_fields(&self, span: Span) -> Result<()> {
        if self.zid.is_some() || self.clue.is_some() || self.skip {
            let message = "`zid`, `clue` and `skip` belong to fields and variants";
            return Err(Error::new(span, message));
        }
        Ok(())
    }

    fn number(&self, of: &Ident, what: &str) -> Result<u32> {
        let Some(zid) = &self.zid else {
            return Err(Error::new(
                of.span(),
                format!(
                    "the {what} `{of}` has no number: write `#[zid(N)]` above it. Numbers start at 0 \
                     and have no gaps; they are part of the {what}'s name on the wire, so they stay \
                     when {what}s are moved about"
                ),
            ));
        };
        zid.base10_parse()
    }
}

fn numbered<'a>(
    fields: impl Iterator<Item = &'a Field>,
) -> Result<(Vec<NumberedField>, Vec<Ident>)> {
    let (mut numbered, mut skipped) = (Vec::new(), Vec::new());
    for field in fields {
        let options = Options::parse(&field.attrs)?;
        let Some(ident) = field.ident.clone() else {
            return Err(Error::new(field.span(), "a field without a name"));
        };
        if options.skip {
            skipped.push(ident);
            continue;
        }
        let rust_name = plain(&ident);
        numbered.push(NumberedField {
            key: Key {
                name: options.name.clone().unwrap_or_else(|| exported(&rust_name)),
                rust_name,
                zid: options.number(&ident, "field")?,
                clue: options
                    .clue
                    .clone()
                    .unwrap_or_else(|| clue(&field.ty).to_owned()),
            },
            ident,
            ty: field.ty.clone(),
        });
    }
    check_numbers(
        numbered.iter().map(|field| (&field.ident, field.key.zid)),
        "field",
    )?;
    numbered.sort_by_key(|field| field.key.zid);
    Ok((numbered, skipped))
}

fn variant(variant: &Variant) -> Result<NumberedVariant> {
    let options = Options::parse(&variant.attrs)?;
    let content = match &variant.fields {
        Fields::Unit => Content::Nothing,
        Fields::Unnamed(fields) => match fields.unnamed.iter().collect::<Vec<_>>()[..] {
            [_] => Content::Value,
            _ => {
                return Err(Error::new(
                    variant.span(),
                    "a variant holds one value, or fields with names and numbers",
                ));
            }
        },
        Fields::Named(fields) => {
            let (numbered, skipped) = numbered(fields.named.iter())?;
            Content::Fields(numbered, skipped)
        }
    };
    let rust_name = plain(&variant.ident);
    Ok(NumberedVariant {
        key: Key {
            name: options.name.clone().unwrap_or_else(|| rust_name.clone()),
            rust_name,
            zid: options.number(&variant.ident, "variant")?,
            clue: options.clue.clone().unwrap_or_else(|| "ptr".to_owned()),
        },
        ident: variant.ident.clone(),
        content,
    })
}

fn integer(variant: &Variant) -> Result<(Ident, Option<Expr>)> {
    match (&variant.fields, &variant.discriminant) {
        (Fields::Unit, value) => Ok((
            variant.ident.clone(),
            value.as_ref().map(|(_, value)| value.clone()),
        )),
        _ => Err(Error::new(
            variant.span(),
            "`#[greenpack(int)]` is for enums whose variants hold nothing",
        )),
    }
}

/// docs/wire G9: from 0 without gaps.
fn check_numbers<'a>(numbers: impl Iterator<Item = (&'a Ident, u32)>, what: &str) -> Result<()> {
    let mut all: Vec<(&Ident, u32)> = numbers.collect();
    all.sort_by_key(|&(_, number)| number);
    for (due, &(ident, number)) in all.iter().enumerate() {
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        if number < due {
            let message = format!("two {what}s have the number {number}: each needs its own");
            return Err(Error::new(ident.span(), message));
        }
        if number > due {
            let message = format!(
                "no {what} has the number {due}, and this one has {number}: numbers start at 0 and \
                 have no gaps"
            );
            return Err(Error::new(ident.span(), message));
        }
    }
    Ok(())
}

fn plain(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").unwrap_or(&name).to_owned()
}

/// `max_bytes` is `MaxBytes` in Go.
fn exported(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .into_iter()
                .flat_map(char::to_uppercase)
                .chain(letters)
        })
        .collect()
}

/// docs/wire G10, by how the type is written, as the original's generator does.
fn clue(ty: &RustType) -> &'static str {
    match ty {
        RustType::Array(_) => "ary",
        // As macros hand types on.
        RustType::Group(group) => clue(&group.elem),
        RustType::Paren(paren) => clue(&paren.elem),
        RustType::Path(path) => {
            let Some(last) = path.path.segments.last() else {
                return "rct";
            };
            let argument = || match &last.arguments {
                PathArguments::AngleBracketed(arguments) => {
                    arguments.args.iter().find_map(|argument| match argument {
                        GenericArgument::Type(ty) => Some(ty),
                        _ => None,
                    })
                }
                _ => None,
            };
            match &*last.ident.to_string() {
                "i8" => "i08",
                "i16" => "i16",
                "i32" => "i32",
                "i64" => "i64",
                "isize" => "int",
                "u8" => "u08",
                "u16" => "u16",
                "u32" => "u32",
                "u64" => "u64",
                "usize" => "unt",
                "f32" => "f32",
                "f64" => "f64",
                "bool" => "boo",
                "String" | "Text" => "str",
                "Bytes" => "bin",
                "Timestamp" => "tim",
                "Duration" | "Nanoseconds" => "dur",
                "BTreeMap" | "HashMap" => "map",
                "Any" => "ifc",
                "Extension" => "ext",
                "Vec" if argument().is_some_and(|ty| clue(ty) == "u08") => "bin",
                "Vec" => "slc",
                "Complex" if argument().is_some_and(|ty| clue(ty) == "f32") => "c64",
                "Complex" => "c28",
                "Option" if argument().is_some_and(|ty| clue(ty) == "tim") => "tim",
                "Option" | "Box" | "Arc" => "ptr",
                _ => "rct",
            }
        }
        _ => "rct",
    }
}
