//! The conditions in `vars`, as APISIX evaluates them.

use std::cell::RefCell;
use std::collections::HashMap;

use pcre2::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use super::in_network;
use super::request::{Request, Var};

/// Whether a condition holds (16, 23).
pub(super) fn holds(condition: &Value, request: &Request) -> bool {
    let items = condition.as_array().map(Vec::as_slice).unwrap_or_default();
    let operands = || items[1..].iter().map(|item| holds(item, request));
    let Some(Value::String(first)) = items.first() else {
        // A list of conditions.
        return items.iter().all(|item| holds(item, request));
    };
    match first.to_ascii_uppercase().as_str() {
        "AND" => operands().all(|holds| holds),
        "OR" => operands().any(|holds| holds),
        "!AND" => !operands().all(|holds| holds),
        "!OR" => !operands().any(|holds| holds),
        _ => match items {
            [_, op, value] => compare(request.variable(first).as_ref(), op, value),
            [_, not, op, value] if not == "!" => !compare(request.variable(first).as_ref(), op, value),
            _ => false,
        },
    }
}

/// Compares a variable with what the condition says.
fn compare(var: Option<&Var>, op: &Value, value: &Value) -> bool {
    let number = || match var {
        Some(Var::Text(text)) => lua_number(std::str::from_utf8(text).ok()?),
        Some(Var::True) | None => None,
    };
    let target = || value.as_f64().or_else(|| lua_number(value.as_str()?));
    let ordered = |order: fn(&f64, &f64) -> bool| number().zip(target()).is_some_and(|(a, b)| order(&a, &b));
    match op.as_str().unwrap_or_default() {
        // By type, but a number on the right has the left converted (18).
        "==" => match (var, value) {
            (None, Value::Null) | (Some(Var::True), Value::Bool(true)) => true,
            (Some(Var::Text(text)), Value::String(value)) => text == value.as_bytes(),
            (Some(Var::Text(_)), Value::Number(value)) => number().is_some_and(|number| Some(number) == value.as_f64()),
            _ => false,
        },
        "~=" => !compare(var, &Value::from("=="), value),
        // Both converted, else false (19).
        ">" => ordered(f64::gt),
        ">=" => ordered(f64::ge),
        "<" => ordered(f64::lt),
        "<=" => ordered(f64::le),
        // (21)
        "in" => value.as_array().is_some_and(|list| list.iter().any(|item| compare(var, &Value::from("=="), item))),
        // (22)
        "ipmatch" => match var {
            Some(Var::Text(text)) => ip_match(&String::from_utf8_lossy(text), value),
            Some(Var::True) | None => false,
        },
        // (20)
        op @ ("~~" | "~*") => {
            let text = match var {
                None => return false,
                Some(Var::True) => b"true".as_slice(),
                Some(Var::Text(text)) => text,
            };
            value.as_str().is_some_and(|pattern| search(pattern, text, op == "~*"))
        }
        _ => false,
    }
}

/// A search; an error of any kind finds nothing (20).
pub(super) fn search(pattern: &str, text: &[u8], any_case: bool) -> bool {
    thread_local! {
        /// Compiled once, as APISIX does.
        static COMPILED: RefCell<HashMap<(String, bool), Option<Regex>>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let compile = || RegexBuilder::new().caseless(any_case).jit_if_available(true).build(pattern).ok();
        let regex = compiled.entry((pattern.to_owned(), any_case)).or_insert_with(compile);
        regex.as_ref().is_some_and(|regex| regex.is_match(text).unwrap_or(false))
    })
}

/// Whether an address is one of a list, or the one that is given. What is no address is none of them (22).
pub(super) fn ip_match(address: &str, value: &Value) -> bool {
    let list = value.as_str().into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str));
    let Ok(address) = address.parse() else { return false };
    list.filter_map(|network| in_network(address, network)).any(|inside| inside)
}

/// A number as Lua reads it: spaces around it, a sign, decimal with an exponent, hexadecimal, infinity.
fn lua_number(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, text),
    };
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return Some(sign * f64::from(u32::from_str_radix(hex, 16).ok()?));
    }
    let known = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || ["inf", "infinity", "nan"].iter().any(|word| digits.eq_ignore_ascii_case(word));
    digits.parse::<f64>().ok().filter(|_| known).map(|number| sign * number)
}
