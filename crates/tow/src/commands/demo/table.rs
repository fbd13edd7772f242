//! What was done, in two columns.

use std::fmt::{self, Display};

use serde_json::{Map, Value};

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<(&'static str, String)>,
}

impl Table {
    pub(super) fn row(&mut self, name: &'static str, value: impl Display) {
        self.rows.push((name, value.to_string()));
    }

    pub(super) fn to_json(&self) -> Value {
        let rows: Map<_, _> = self
            .rows
            .iter()
            .map(|(name, value)| (name.replace([' ', ','], "_"), value.clone().into()))
            .collect();
        Value::Object(rows)
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
