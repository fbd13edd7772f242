//! What was done, in two columns.

use std::fmt::{self, Display};

use serde_json::{Map, Value};

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<(&'static str, String)>,
    fields: Map<String, Value>,
}

impl Table {
    /// Adds a row, and the fields that say the same to a program: numbers as numbers.
    pub(super) fn row(&mut self, name: &'static str, text: impl Display, fields: Value) {
        self.rows.push((name, text.to_string()));
        if let Value::Object(fields) = fields {
            self.fields.extend(fields);
        }
    }

    pub(super) fn to_json(&self) -> Value {
        Value::Object(self.fields.clone())
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .rows
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0);
        for (name, value) in &self.rows {
            writeln!(f, "  {name:width$}  {value}")?;
        }
        Ok(())
    }
}
