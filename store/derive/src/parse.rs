//! From a struct to a [`Table`], or to everything that is wrong with it.

use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Fields, GenericArgument, Ident, PathArguments, PathSegment, Type,
};

use crate::attribute::{ColumnAttributes, ComputationAttribute, column_attributes, doc};
use crate::table::{Field, Kind, Source, Table};

/// The columns that every event table has besides its fields.
const RESERVED: [&str; 4] = ["time", "eid", "boot_ns", "boot_id"];

const TYPES: &str = "a column is a `bool`, `i32`, `i64`, `u32`, `u64`, `f64`, `String` or \
                     `Vec<u8>`, an `Option` of one of these, or `Computed`";

/// Reads the struct.
pub(crate) fn table(input: &DeriveInput, kind: Kind) -> syn::Result<Table> {
    let mut errors = Errors::default();
    if !input.generics.params.is_empty() {
        errors.push(Error::new(input.generics.span(), "a table's struct has no generics"));
    }
    let doc = doc(&input.attrs).unwrap_or_else(|| {
        let message = format!(
            "table `{}` needs a `///` comment: it is the table's documentation",
            snake_case(&input.ident.unraw().to_string())
        );
        errors.push(Error::new(input.ident.span(), message));
        String::new()
    });
    let (mut fields, mut time) = (Vec::new(), None);
    match named_fields(input) {
        Ok(named) => {
            for field in named {
                let index = fields.len();
                match self::field(field, named, kind) {
                    Ok((field, None)) => fields.push(field),
                    Ok((field, Some(span))) if time.is_none() => {
                        time = Some((index, span));
                        fields.push(field);
                    }
                    Ok((_, Some(span))) => {
                        errors.push(Error::new(span, "exactly one field must be #[column(time)]"));
                    }
                    Err(error) => errors.push(error),
                }
            }
            if kind == Kind::Event && time.is_none() && errors.is_empty() {
                let message = "exactly one field must be #[column(time)]";
                errors.push(Error::new(input.ident.span(), message));
            }
        }
        Err(error) => errors.push(error),
    }
    errors.finish()?;
    let name = snake_case(&input.ident.unraw().to_string());
    Ok(Table { name, doc, fields, time: time.map(|(index, _)| index) })
}

fn named_fields(input: &DeriveInput) -> syn::Result<&Fields> {
    match &input.data {
        Data::Struct(data) if matches!(data.fields, Fields::Named(_)) => Ok(&data.fields),
        _ => Err(Error::new(input.ident.span(), "a table is a struct with named fields")),
    }
}

/// One field, and where its `time` attribute stands when it has one.
fn field(
    field: &syn::Field,
    all: &Fields,
    kind: Kind,
) -> syn::Result<(Field, Option<proc_macro2::Span>)> {
    let ident =
        field.ident.clone().ok_or_else(|| Error::new(field.span(), "a field has a name"))?;
    let name = ident.unraw().to_string();
    let mut errors = Errors::default();
    let attributes = errors.take(column_attributes(&field.attrs));
    let column_type = errors.take(column_type(&field.ty));
    let doc = doc(&field.attrs).unwrap_or_else(|| {
        let message =
            format!("column `{name}` needs a `///` comment: it is the column's documentation");
        errors.push(Error::new(ident.span(), message));
        String::new()
    });
    if kind == Kind::Event && RESERVED.contains(&name.as_str()) {
        let message = format!("every event table has a column `{name}` already");
        errors.push(Error::new(ident.span(), message));
    }
    let (Some(attributes), Some(column_type)) = (attributes, column_type) else {
        errors.finish()?;
        return Err(Error::new(field.ty.span(), TYPES));
    };
    errors.take(attributes_fit(&attributes, column_type, &field.ty, kind));
    let source = errors.take(source(&attributes, column_type, &name, field, all));
    errors.finish()?;
    let (source, nullable) = source.ok_or_else(|| Error::new(field.ty.span(), TYPES))?;
    let hidden = attributes.hidden.is_some();
    let bloom = attributes.bloom.is_some();
    Ok((Field { ident, name, doc, source, nullable, hidden, bloom }, attributes.time))
}

/// Whether the attributes may stand on a field of this type in a table of this kind.
fn attributes_fit(
    attributes: &ColumnAttributes,
    column_type: ColumnType,
    ty: &Type,
    kind: Kind,
) -> syn::Result<()> {
    let mut errors = Errors::default();
    if let Some(span) = attributes.time {
        if kind == Kind::State {
            errors.push(Error::new(span, "a state table has no time column"));
        } else if column_type != (ColumnType::Stored { name: "I64", nullable: false }) {
            let message = "the time column is an `i64`: nanoseconds since the Unix epoch";
            errors.push(Error::new(ty.span(), message));
        }
    }
    if let Some(span) = attributes.bloom {
        if kind == Kind::State {
            errors.push(Error::new(span, "a state table has no segments, so no bloom filters"));
        } else if column_type == ColumnType::Computed {
            errors.push(Error::new(
                span,
                "a computed column has no bloom filter: put it on its parts",
            ));
        }
    }
    for (span, computation) in &attributes.computations {
        if kind == Kind::State && !matches!(computation, ComputationAttribute::Guid { .. }) {
            errors
                .push(Error::new(*span, "a row of a state table has no time to compute this from"));
        }
    }
    errors.finish()
}

/// Where the values come from, and whether they can be null.
fn source(
    attributes: &ColumnAttributes,
    column_type: ColumnType,
    name: &str,
    field: &syn::Field,
    all: &Fields,
) -> syn::Result<(Source, bool)> {
    match (column_type, attributes.computations.as_slice()) {
        (ColumnType::Stored { name, nullable }, []) => Ok((Source::Stored(name), nullable)),
        (ColumnType::Stored { .. }, [(span, _), ..]) => {
            Err(Error::new(*span, "only a field of type `Computed` is computed"))
        }
        (ColumnType::Computed, []) => {
            let message = format!(
                "column `{name}` is `Computed`: say how with #[column(guid(pid, start_ns))], \
                 #[column(uptime)] or #[column(boot_ns)]"
            );
            Err(Error::new(field.ty.span(), message))
        }
        (ColumnType::Computed, [(_, computation)]) => match computation {
            ComputationAttribute::Uptime => Ok((Source::Uptime, false)),
            ComputationAttribute::BootNs => Ok((Source::BootNs, false)),
            ComputationAttribute::Guid { pid, start_ns } => guid(pid, start_ns, all),
        },
        (ColumnType::Computed, [_, (span, _), ..]) => {
            Err(Error::new(*span, "a column is computed in one way"))
        }
    }
}

fn guid(pid: &Ident, start_ns: &Ident, all: &Fields) -> syn::Result<(Source, bool)> {
    let (pid, pid_nullable) = part(pid, "U32", "`u32` or `Option<u32>`", all)?;
    let (start_ns, start_nullable) = part(start_ns, "U64", "`u64` or `Option<u64>`", all)?;
    Ok((Source::Guid { pid, start_ns }, pid_nullable || start_nullable))
}

/// A stored field that a computed one is made of: its index and whether it can be null.
fn part(ident: &Ident, type_name: &str, types: &str, all: &Fields) -> syn::Result<(usize, bool)> {
    let found = all.iter().enumerate().find(|(_, field)| field.ident.as_ref() == Some(ident));
    let Some((index, field)) = found else {
        return Err(Error::new(ident.span(), format!("there is no field `{ident}`")));
    };
    match column_type(&field.ty)? {
        ColumnType::Stored { name, nullable } if name == type_name => Ok((index, nullable)),
        _ => Err(Error::new(ident.span(), format!("field `{ident}` must be {types}"))),
    }
}

/// What a field's type says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ColumnType {
    /// The variant of `bygone_store::schema::ColumnType`.
    Stored {
        name: &'static str,
        nullable: bool,
    },
    Computed,
}

fn column_type(ty: &Type) -> syn::Result<ColumnType> {
    let unsupported = || Error::new(ty.span(), TYPES);
    let segment = last_segment(ty).ok_or_else(unsupported)?;
    if segment.ident == "Computed" {
        return Ok(ColumnType::Computed);
    }
    if segment.ident == "Option" {
        let inner = argument(segment).ok_or_else(unsupported)?;
        let name = stored(inner).ok_or_else(unsupported)?;
        return Ok(ColumnType::Stored { name, nullable: true });
    }
    let name = stored(ty).ok_or_else(unsupported)?;
    Ok(ColumnType::Stored { name, nullable: false })
}

fn stored(ty: &Type) -> Option<&'static str> {
    let segment = last_segment(ty)?;
    if segment.ident == "Vec" {
        let element = last_segment(argument(segment)?)?;
        return (element.ident == "u8").then_some("Blob");
    }
    if !segment.arguments.is_none() {
        return None;
    }
    match segment.ident.to_string().as_str() {
        "bool" => Some("Bool"),
        "i32" => Some("I32"),
        "i64" => Some("I64"),
        "u32" => Some("U32"),
        "u64" => Some("U64"),
        "f64" => Some("F64"),
        "String" => Some("Text"),
        _ => None,
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        _ => None,
    }
}

fn argument(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(ty)) if arguments.args.len() == 1 => Some(ty),
        _ => None,
    }
}

/// `ProcessEvents` → `process_events`; a run of capitals is one word.
pub(crate) fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    let mut previous: Option<char> = None;
    for (index, &letter) in letters.iter().enumerate() {
        let next_is_small = letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        let starts_word = letter.is_uppercase()
            && previous.is_some_and(|before| !before.is_uppercase() || next_is_small)
            && previous != Some('_');
        if starts_word {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
        previous = Some(letter);
    }
    snake
}

/// Collects errors, so that all are shown at once.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_of_tables() {
        let cases = [
            ("ProcessEvents", "process_events"),
            ("Gaps", "gaps"),
            ("BPFEvents", "bpf_events"),
            ("EventsBPF", "events_bpf"),
            ("Md5Sums", "md5_sums"),
            ("already_snake", "already_snake"),
            ("With_Both", "with_both"),
        ];
        for (name, snake) in cases {
            assert_eq!(snake_case(name), snake);
        }
    }
}
