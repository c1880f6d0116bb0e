//! What stands in `#[column(…)]` and in `///`.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Token, parenthesized, token};

/// The attributes of one field, each with the place where it stands.
#[derive(Default)]
pub(crate) struct ColumnAttributes {
    pub(crate) time: Option<Span>,
    pub(crate) bloom: Option<Span>,
    pub(crate) hidden: Option<Span>,
    /// More than one is a mistake that [`crate::parse`] reports.
    pub(crate) computations: Vec<(Span, ComputationAttribute)>,
}

/// An attribute that says how a column is computed.
pub(crate) enum ComputationAttribute {
    Uptime,
    BootNs,
    Guid { pid: Ident, start_ns: Ident },
}

const KNOWN: &str =
    "unknown column attribute; known: time, bloom, hidden, guid(pid, start_ns), uptime, boot_ns";

/// Reads every `#[column(…)]` of a field.
pub(crate) fn column_attributes(attributes: &[Attribute]) -> syn::Result<ColumnAttributes> {
    let mut found = ColumnAttributes::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("column")) {
        attribute.parse_nested_meta(|meta| {
            let span = meta.path.span();
            if meta.path.is_ident("time") {
                found.time = Some(span);
            } else if meta.path.is_ident("bloom") {
                found.bloom = Some(span);
            } else if meta.path.is_ident("hidden") {
                found.hidden = Some(span);
            } else if meta.path.is_ident("uptime") {
                found.computations.push((span, ComputationAttribute::Uptime));
            } else if meta.path.is_ident("boot_ns") {
                found.computations.push((span, ComputationAttribute::BootNs));
            } else if meta.path.is_ident("guid") {
                if !meta.input.peek(token::Paren) {
                    return Err(meta.error("name the parts: guid(pid, start_ns)"));
                }
                let parts;
                parenthesized!(parts in meta.input);
                let pid = parts.parse()?;
                parts.parse::<Token![,]>()?;
                let start_ns = parts.parse()?;
                found.computations.push((span, ComputationAttribute::Guid { pid, start_ns }));
            } else {
                return Err(meta.error(KNOWN));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// The doc comment joined to one line, `None` when there is none or it is empty.
pub(crate) fn doc(attributes: &[Attribute]) -> Option<String> {
    let lines: Vec<String> =
        attributes.iter().filter_map(doc_text).map(|text| text.value()).collect();
    let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn doc_text(attribute: &Attribute) -> Option<LitStr> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    if !pair.path.is_ident("doc") {
        return None;
    }
    match &pair.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.clone()),
        _ => None,
    }
}
