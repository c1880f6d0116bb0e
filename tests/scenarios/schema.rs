//! The tables as they are documented, and as osquery has them.

use bygone_store::schema::ColumnSource;
use bygone_tests::bygone;
use expect_test::expect_file;
use serde_json::Value;

/// Names and types of osquery's columns, for the tables that both have.
const OSQUERY: &str = include_str!("../fixtures/osquery_schema.json");

#[test]
fn schema_is_as_committed() {
    let output = bygone().arg("schema").output().unwrap();
    assert!(output.status.success());
    expect_file!["../snapshots/schema.sql"].assert_eq(&String::from_utf8(output.stdout).unwrap());
}

#[test]
fn columns_of_osquery_come_first_with_their_names_and_types() {
    let osquery: Value = serde_json::from_str(OSQUERY).unwrap();
    let states = bygone::tables::state_tables().iter().map(|state| state.schema());
    let tables = bygone::tables::event_schemas().iter().copied().chain(states);
    let mut compared = 0;
    for table in tables {
        let Some(theirs) = osquery.get(table.name) else { continue };
        compared += 1;
        for column in theirs["columns"].as_array().unwrap() {
            let name = column["name"].as_str().unwrap();
            // It is a number here and hidden in both.
            if name == "eid" {
                continue;
            }
            let index = table.column(name);
            let index = index.unwrap_or_else(|| panic!("{}.{name} is missing", table.name));
            let declared = match table.columns[index].source {
                ColumnSource::Stored(kind) => kind.sql(),
                ColumnSource::Computed(computation) => computation.sql(),
            };
            assert_eq!(Some(declared), column["type"].as_str(), "{}.{name}", table.name);
            let options = column["options"].as_array().unwrap();
            let hidden = options.iter().any(|option| option == "hidden");
            assert_eq!(table.columns[index].hidden, hidden, "{}.{name}", table.name);
        }
    }
    assert_eq!(compared, osquery.as_object().unwrap().len(), "every table of the fixture is there");
}
