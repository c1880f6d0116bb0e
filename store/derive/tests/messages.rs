//! What the derives say to a struct that is not a table: the message, its place, and nothing else.

#[test]
fn errors_name_the_mend() {
    // The cases take the traits from the store's sources, so that they need not compile the store.
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
