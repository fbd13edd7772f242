//! The figures as a picture.

use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, DrawingArea, IntoDrawingArea as _, Palette, Palette99, PathElement,
        Rectangle, SVGBackend, SeriesLabelPosition,
    },
    style::{BLACK, Color as _, WHITE},
};

use super::measure::{Cell, Row};
use crate::failure::{Failure, failed};

const SIZE: (u32, u32) = (1200, 900);
const UPPER: i32 = 450;

/// One value for each row, by name.
struct Series {
    name: String,
    values: Vec<f64>,
}

/// Two charts of bars, one group for each compression.
pub(super) fn draw(
    server: &str,
    rows: &[Row],
    name_of: impl Fn(&Cell) -> String,
) -> Result<String, Failure> {
    let groups: Vec<String> = rows.iter().map(|row| row.compression.to_string()).collect();
    let calls = rows.first().map_or(0, |row| row.calls.len());
    let calls = (0..calls).map(|number| Series {
        name: rows
            .first()
            .map_or_else(String::new, |row| name_of(&row.calls[number])),
        values: rows
            .iter()
            .map(|row| row.calls[number].per_second)
            .collect(),
    });
    let bytes = [
        Series {
            name: "stream".to_owned(),
            values: rows
                .iter()
                .map(|row| row.stream.clone().unwrap_or(0.0) / 1e6)
                .collect(),
        },
        Series {
            name: "bulk".to_owned(),
            values: rows.iter().map(|row| row.bulk / 1e6).collect(),
        },
    ];
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (upper, lower) = root.split_vertically(UPPER);
        let title = format!("Calls a second, {server}");
        chart(&upper, &title, &groups, &calls.collect::<Vec<_>>())?;
        chart(&lower, "MB a second, one way", &groups, &bytes)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    groups: &[String],
    series: &[Series],
) -> Result<(), Failure> {
    let highest = series
        .iter()
        .flat_map(|series| &series.values)
        .fold(1.0, |highest: f64, &value| highest.max(value));
    // Groups stand around whole numbers.
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(80)
        .build_cartesian_2d(-0.5..groups.len() as f64 - 0.5, 0.0..highest * 1.2)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(groups.len())
        .y_label_formatter(&|value| format!("{value:.0}"))
        .x_label_formatter(&|at| {
            let group = (at.fract() == 0.0 && *at >= 0.0).then(|| groups.get(*at as usize));
            group.flatten().cloned().unwrap_or_default()
        })
        .draw()
        .map_err(failed)?;
    let width = 0.8 / series.len().max(1) as f64;
    for (number, one) in series.iter().enumerate() {
        let colour = Palette99::pick(number).filled();
        let bars = one.values.iter().enumerate().map(|(group, &value)| {
            let left = group as f64 - 0.4 + number as f64 * width;
            Rectangle::new([(left, 0.0), (left + width, value)], colour)
        });
        chart
            .draw_series(bars)
            .map_err(failed)?
            .label(&one.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(6)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .map_err(failed)?;
    Ok(())
}
