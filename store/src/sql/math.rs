//! SQLite's functions of mathematics.
//!
//! SQLite has them only when it is built with `SQLITE_ENABLE_MATH_FUNCTIONS`. The bundled one is
//! not, a package can set the flag for its own workspace only, and a program installed by cargo
//! would lack them. So they are added here, with SQLite's names and rules: what is no number gives
//! null, and so does a result that is none.

use rusqlite::Connection;
use rusqlite::functions::{Context as Call, FunctionFlags};
use rusqlite::types::{Value, ValueRef};

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

type Unary = fn(f64) -> f64;
type Binary = fn(f64, f64) -> f64;

/// Functions of one real.
const UNARY: [(&str, Unary); 21] = [
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("degrees", f64::to_degrees),
    ("exp", f64::exp),
    ("ln", |value| logarithm(value, f64::ln)),
    ("log", |value| logarithm(value, f64::log10)),
    ("log10", |value| logarithm(value, f64::log10)),
    ("log2", |value| logarithm(value, f64::log2)),
    ("radians", f64::to_radians),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
    ("pi", |_| std::f64::consts::PI),
];

/// Functions of two reals.
const BINARY: [(&str, Binary); 5] = [
    ("atan2", f64::atan2),
    ("log", |base, value| {
        let base = logarithm(base, f64::ln);
        // A base of one or less has no logarithm.
        if base > 0.0 { logarithm(value, f64::ln) / base } else { f64::NAN }
    }),
    ("mod", |left, right| left % right),
    ("pow", f64::powf),
    ("power", f64::powf),
];

/// Functions that leave integers as they are.
const ROUNDING: [(&str, Unary); 4] =
    [("ceil", f64::ceil), ("ceiling", f64::ceil), ("floor", f64::floor), ("trunc", f64::trunc)];

/// Of what is not positive there is none.
fn logarithm(value: f64, of: Unary) -> f64 {
    if value > 0.0 { of(value) } else { f64::NAN }
}

/// Adds the functions to a connection.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    for (name, function) in UNARY {
        let arguments = i32::from(name != "pi");
        connection.create_scalar_function(name, arguments, FLAGS, move |call| {
            let argument = if call.is_empty() { Some(0.0) } else { number(call, 0) };
            Ok(argument.map(function).filter(|value| !value.is_nan()))
        })?;
    }
    for (name, function) in BINARY {
        connection.create_scalar_function(name, 2, FLAGS, move |call| {
            let arguments = number(call, 0).zip(number(call, 1));
            Ok(arguments.map(|(a, b)| function(a, b)).filter(|value| !value.is_nan()))
        })?;
    }
    for (name, function) in ROUNDING {
        connection.create_scalar_function(name, 1, FLAGS, move |call| {
            Ok(match numeric(call.get_raw(0)) {
                Some(Value::Real(value)) => Value::Real(function(value)),
                other => other.unwrap_or(Value::Null),
            })
        })?;
    }
    Ok(())
}

fn number(call: &Call<'_>, index: usize) -> Option<f64> {
    match numeric(call.get_raw(index))? {
        #[expect(clippy::cast_precision_loss, reason = "as SQLite does")]
        Value::Integer(value) => Some(value as f64),
        Value::Real(value) => Some(value),
        _ => None,
    }
}

/// A number, or text that reads as one.
fn numeric(value: ValueRef<'_>) -> Option<Value> {
    match value {
        ValueRef::Integer(value) => Some(Value::Integer(value)),
        ValueRef::Real(value) => Some(Value::Real(value)),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).ok()?.trim();
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            if !plain {
                return None;
            }
            let integer = text.parse().map(Value::Integer).ok();
            integer.or_else(|| text.parse().map(Value::Real).ok())
        }
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(connection: &Connection, expression: &str) -> Value {
        let sql = format!("SELECT {expression}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    #[test]
    fn functions_follow_sqlite() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        let cases = [
            ("sqrt(2)", Value::Real(std::f64::consts::SQRT_2)),
            ("sqrt('16')", Value::Real(4.0)),
            ("sqrt(-1)", Value::Null),
            ("sqrt('x')", Value::Null),
            ("sqrt(NULL)", Value::Null),
            ("sqrt(x'34')", Value::Null),
            ("ln(0)", Value::Null),
            ("ln(1)", Value::Real(0.0)),
            ("log(100)", Value::Real(2.0)),
            ("log(2, 8)", Value::Real(3.0)),
            ("log(1, 8)", Value::Null),
            ("log2(1024)", Value::Real(10.0)),
            ("ceil(1.5)", Value::Real(2.0)),
            ("ceiling(-1.5)", Value::Real(-1.0)),
            ("floor(7)", Value::Integer(7)),
            ("floor('1.5')", Value::Real(1.0)),
            ("trunc(-1.5)", Value::Real(-1.0)),
            ("mod(7, 4)", Value::Real(3.0)),
            ("mod(7, 0)", Value::Null),
            ("pow(2, 10)", Value::Real(1024.0)),
            ("power(2, NULL)", Value::Null),
            ("pi()", Value::Real(std::f64::consts::PI)),
            ("degrees(pi())", Value::Real(180.0)),
            ("atan2(0, 1)", Value::Real(0.0)),
            ("exp(0)", Value::Real(1.0)),
        ];
        for (expression, expected) in cases {
            assert_eq!(value(&connection, expression), expected, "{expression}");
        }
    }

    /// Where SQLite has its own, both agree to the last digits.
    #[test]
    fn functions_agree_with_sqlite_where_it_has_them() {
        let (own, theirs) =
            (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        register(&own).unwrap();
        let option = "sqlite_compileoption_used('ENABLE_MATH_FUNCTIONS')";
        if value(&theirs, option) != Value::Integer(1) {
            return;
        }
        let real = |value: &Value| match value {
            Value::Real(value) => Some(*value),
            _ => None,
        };
        let check = |expression: &str| {
            let (ours, theirs) = (value(&own, expression), value(&theirs, expression));
            let near = real(&ours)
                .zip(real(&theirs))
                .is_some_and(|(a, b)| a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs()));
            assert!(near || ours == theirs, "{expression}: {ours:?} but {theirs:?}");
        };
        let names = UNARY.iter().map(|known| known.0).filter(|name| *name != "pi");
        for name in names.chain(ROUNDING.iter().map(|known| known.0)) {
            for argument in ["0", "1", "-1", "0.5", "2", "1e300", "'7.5'", "'a'", "NULL", "x'31'"] {
                check(&format!("{name}({argument})"));
            }
        }
        for (name, _) in BINARY {
            for (left, right) in [("2", "8"), ("7", "-3"), ("0", "0"), ("1.5", "'2'"), ("-2", "2")]
            {
                check(&format!("{name}({left}, {right})"));
            }
        }
    }
}
