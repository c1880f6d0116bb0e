//! SQLite's functions of mathematics.
//!
//! SQLite has them only when it is built with `SQLITE_ENABLE_MATH_FUNCTIONS`. The bundled one is
//! not, and a package can set the flag for its own workspace only. So they are added here, with
//! SQLite's names and rules: what is no number gives null, and so does a result that is none.

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

    /// What SQLite 3.54.1, built with its own, gives for 0, 1, -1, 0.5, 2, 1e300, '7.5', 'a', NULL and
    /// x'31'.
    const OF_ONE: &str = "
        acos 1.5707963267948966 0.0 3.141592653589793 1.0471975511965979 null null null null null null
        acosh null 0.0 null null 1.3169578969248166 691.4686750787736 2.703575830931402 null null null
        asin 0.0 1.5707963267948966 -1.5707963267948966 0.5235987755982989 null null null null null null
        asinh 0.0 0.881373587019543 -0.881373587019543 0.48121182505960347 1.4436354751788103 691.4686750787736 2.712465305184344 null null null
        atan 0.0 0.7853981633974483 -0.7853981633974483 0.4636476090008061 1.1071487177940904 1.5707963267948966 1.4382447944982226 null null null
        atanh 0.0 inf -inf 0.5493061443340548 null null null null null null
        cos 1.0 0.5403023058681398 0.5403023058681398 0.8775825618903728 -0.4161468365471424 -0.5753861119575491 0.3466353178350258 null null null
        cosh 1.0 1.5430806348152437 1.5430806348152437 1.1276259652063807 3.7621956910836314 inf 904.0214837702166 null null null
        degrees 0.0 57.29577951308232 -57.29577951308232 28.64788975654116 114.59155902616465 5.729577951308233e301 429.7183463481174 null null null
        exp 1.0 2.718281828459045 0.36787944117144233 1.6487212707001282 7.38905609893065 inf 1808.0424144560632 null null null
        ln null 0.0 null -0.6931471805599453 0.6931471805599453 690.7755278982137 2.0149030205422647 null null null
        log null 0.0 null -0.3010299956639812 0.3010299956639812 300.0 0.8750612633917001 null null null
        log10 null 0.0 null -0.3010299956639812 0.3010299956639812 300.0 0.8750612633917001 null null null
        log2 null 0.0 null -1.0 1.0 996.5784284662087 2.9068905956085187 null null null
        radians 0.0 0.017453292519943295 -0.017453292519943295 0.008726646259971648 0.03490658503988659 1.7453292519943297e298 0.1308996938995747 null null null
        sin 0.0 0.8414709848078965 -0.8414709848078965 0.479425538604203 0.9092974268256817 -0.8178819121159085 0.9379999767747389 null null null
        sinh 0.0 1.1752011936438014 -1.1752011936438014 0.5210953054937474 3.626860407847019 inf 904.0209306858466 null null null
        sqrt 0.0 1.0 null 0.7071067811865476 1.4142135623730951 1e150 2.7386127875258306 null null null
        tan 0.0 1.5574077246549023 -1.5574077246549023 0.5463024898437905 -2.185039863261519 1.4214488238747245 2.706013866772691 null null null
        tanh 0.0 0.7615941559557649 -0.7615941559557649 0.46211715726000974 0.9640275800758169 1.0 0.9999993881955461 null null null
        ceil 0 1 -1 1.0 2 1e300 8.0 null null null
        ceiling 0 1 -1 1.0 2 1e300 8.0 null null null
        floor 0 1 -1 0.0 2 1e300 7.0 null null null
        trunc 0 1 -1 0.0 2 1e300 7.0 null null null
    ";

    /// The same for (2, 8), (7, -3), (0, 0), (1.5, '2') and (-2, 2).
    const OF_TWO: &str = "
        atan2 0.24497866312686414 1.97568811307998 0.0 0.6435011087932844 -0.7853981633974483
        log 3.0 null null 1.7095112913514547 null
        mod 2.0 1.0 null 1.5 -0.0
        pow 256.0 0.0029154518950437317 1.0 2.25 4.0
        power 256.0 0.0029154518950437317 1.0 2.25 4.0
    ";

    #[test]
    fn every_function_of_sqlite_is_there_and_agrees_to_the_last_digits() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        let check = |expression: &str, expected: &str| {
            let agrees = match value(&connection, expression) {
                Value::Null => expected == "null",
                Value::Integer(found) => found.to_string() == expected,
                Value::Real(found) if expected.contains(['.', 'e', 'i']) => {
                    let expected: f64 = expected.parse().unwrap();
                    found == expected || (found - expected).abs() <= 1e-12 * expected.abs()
                }
                _ => false,
            };
            assert!(agrees, "{expression} is not {expected}");
        };
        let of_one = ["0", "1", "-1", "0.5", "2", "1e300", "'7.5'", "'a'", "NULL", "x'31'"];
        let of_two = ["2, 8", "7, -3", "0, 0", "1.5, '2'", "-2, 2"];
        for (lines, arguments) in [(OF_ONE, &of_one[..]), (OF_TWO, &of_two)] {
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let (name, expected) = line.split_once(' ').unwrap();
                let expected: Vec<&str> = expected.split(' ').collect();
                assert_eq!(expected.len(), arguments.len());
                for (arguments, expected) in arguments.iter().zip(expected) {
                    check(&format!("{name}({arguments})"), expected);
                }
            }
        }
    }
}
