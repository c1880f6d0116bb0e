//! From a [`Table`] to code.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::DeriveInput;

use crate::parse;
use crate::table::{Field, Kind, Source, Table};

/// The implementation of the trait, or the errors beside an empty one.
pub(crate) fn derive(input: &DeriveInput, kind: Kind) -> TokenStream {
    match (parse::table(input, kind), kind) {
        (Ok(table), Kind::Event) => event_table(input, &table),
        (Ok(table), Kind::State) => state_table(input, &table),
        (Err(error), kind) => {
            let errors = error.to_compile_error();
            let stub = stub(input, kind);
            quote!(#errors #stub)
        }
    }
}

fn event_table(input: &DeriveInput, table: &Table) -> TokenStream {
    let ident = &input.ident;
    // `time` stands before the fields.
    let offset = 1;
    let fields = table.fields.iter().map(|field| column(field, offset));
    let added = &ADDED;
    let [time, eid, boot_ns, boot_id] = added.each_ref().map(AddedColumn::tokens);
    let columns = quote!(#time, #(#fields,)* #eid, #boot_ns, #boot_id);
    let time_index = table.time.map_or(0, |index| index + offset);
    let schema = schema(table, &columns, &quote!(::core::option::Option::Some(#time_index)));
    let time_field = table.time.and_then(|index| table.fields.get(index)).map(|field| &field.ident);
    let stored = table.fields.iter().filter(|field| matches!(field.source, Source::Stored(_)));
    let stored = stored.map(|field| &field.ident);
    quote! {
        #[automatically_derived]
        impl ::bygone_store::EventTable for #ident {
            const SCHEMA: &'static ::bygone_store::TableSchema = #schema;

            fn time_ns(&self) -> i64 {
                self.#time_field
            }

            fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
                let mut row = ::bygone_store::row::RowEncoder::new(out);
                #(row.put(&self.#stored);)*
            }
        }
    }
}

fn state_table(input: &DeriveInput, table: &Table) -> TokenStream {
    let ident = &input.ident;
    let fields = table.fields.iter().map(|field| column(field, 0));
    let schema = schema(table, &quote!(#(#fields,)*), &quote!(::core::option::Option::None));
    let values = table.fields.iter().enumerate().filter_map(|(index, field)| {
        let field_ident = &field.ident;
        matches!(field.source, Source::Stored(_))
            .then(|| quote!(#index => ::bygone_store::row::Field::value(&self.#field_ident),))
    });
    quote! {
        #[automatically_derived]
        impl ::bygone_store::StateTable for #ident {
            const SCHEMA: &'static ::bygone_store::TableSchema = #schema;

            fn value(&self, index: usize) -> ::bygone_store::ValueRef<'_> {
                match index {
                    #(#values)*
                    _ => ::bygone_store::ValueRef::Null,
                }
            }
        }
    }
}

fn schema(table: &Table, columns: &TokenStream, time: &TokenStream) -> TokenStream {
    let (name, doc) = (&table.name, &table.doc);
    quote! {{
        static TABLE: ::bygone_store::TableSchema = ::bygone_store::TableSchema {
            name: #name,
            doc: #doc,
            columns: &[#columns],
            time: #time,
        };
        &TABLE
    }}
}

/// A field's `ColumnSchema`; the column's index is the field's plus `offset`.
fn column(field: &Field, offset: usize) -> TokenStream {
    let Field { name, doc, nullable, hidden, bloom, .. } = field;
    let source = match &field.source {
        Source::Stored(variant) => {
            let variant = format_ident!("{variant}");
            quote!(Stored(::bygone_store::schema::ColumnType::#variant))
        }
        Source::Uptime => quote!(Computed(::bygone_store::schema::Computation::Uptime)),
        Source::BootNs => quote!(Computed(::bygone_store::schema::Computation::BootNs)),
        Source::Guid { pid, start_ns } => {
            let (pid, start_ns) = (pid + offset, start_ns + offset);
            quote!(Computed(::bygone_store::schema::Computation::Guid {
                pid: #pid,
                start_ns: #start_ns,
            }))
        }
    };
    quote! {
        ::bygone_store::schema::ColumnSchema {
            name: #name,
            doc: #doc,
            source: ::bygone_store::schema::ColumnSource::#source,
            nullable: #nullable,
            hidden: #hidden,
            bloom: #bloom,
        }
    }
}

/// A column that every event table has.
struct AddedColumn {
    name: &'static str,
    computation: &'static str,
    hidden: bool,
    doc: &'static str,
}

const ADDED: [AddedColumn; 4] = [
    AddedColumn {
        name: "time",
        computation: "Seconds",
        hidden: false,
        doc: "When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.",
    },
    AddedColumn {
        name: "eid",
        computation: "Eid",
        hidden: true,
        doc: "The row's number in its table, given when it was appended and never reused.",
    },
    AddedColumn {
        name: "boot_ns",
        computation: "BootNs",
        hidden: true,
        doc: "When it happened, in nanoseconds since boot, time asleep included.",
    },
    AddedColumn {
        name: "boot_id",
        computation: "BootId",
        hidden: true,
        doc: "The boot during which it happened, 32 hexadecimal digits.",
    },
];

impl AddedColumn {
    fn tokens(&self) -> TokenStream {
        let Self { name, hidden, doc, .. } = self;
        let computation = format_ident!("{}", self.computation);
        quote! {
            ::bygone_store::schema::ColumnSchema {
                name: #name,
                doc: #doc,
                source: ::bygone_store::schema::ColumnSource::Computed(
                    ::bygone_store::schema::Computation::#computation,
                ),
                nullable: false,
                hidden: #hidden,
                bloom: false,
            }
        }
    }
}

/// An implementation that does nothing; it stands only beside an error.
fn stub(input: &DeriveInput, kind: Kind) -> TokenStream {
    let ident = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let (name, body) = match kind {
        Kind::Event => (
            quote!(EventTable),
            quote! {
                fn time_ns(&self) -> i64 { 0 }
                fn encode(&self, _: &mut ::std::vec::Vec<u8>) {}
            },
        ),
        Kind::State => (
            quote!(StateTable),
            quote! {
                fn value(&self, _: usize) -> ::bygone_store::ValueRef<'_> {
                    ::bygone_store::ValueRef::Null
                }
            },
        ),
    };
    quote! {
        #[automatically_derived]
        impl #generics ::bygone_store::#name for #ident #arguments #bounds {
            const SCHEMA: &'static ::bygone_store::TableSchema = &::bygone_store::TableSchema {
                name: "",
                doc: "",
                columns: &[],
                time: ::core::option::Option::None,
            };
            #body
        }
    }
}
