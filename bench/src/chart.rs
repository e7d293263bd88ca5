//! The ratios and their targets as an SVG, readable on light and on dark ground.

use std::path::Path;

use anyhow::{Context as _, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{Check, Report};

const WIDTH: i32 = 860;
const LABELS: i32 = 360;
const BAR: i32 = 20;
const PITCH: i32 = 32;
const TOP: i32 = 48;
/// Room for the figure after the longest bar.
const FIGURES: i32 = 120;
/// A longer bar ends here: one figure far off must not make the others unreadable.
const LONGEST: f64 = 3.0;

const MET: RGBColor = RGBColor(46, 160, 67);
const MISSED: RGBColor = RGBColor(219, 109, 40);
/// Legible on white and on black, for a reader whose viewer ignores the style below.
const INK: RGBColor = RGBColor(128, 128, 128);

/// A viewer that knows whether its ground is light or dark chooses the ink by it.
const STYLE: &str = "<style>text{fill:#1f2328}polyline{stroke:#1f2328}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}polyline{stroke:#e6edf3}}</style>";

/// Draws `latest.svg`.
///
/// # Errors
///
/// What the file system says.
pub(crate) fn write(report: &Report, folder: &Path) -> Result<()> {
    let path = folder.join("latest.svg");
    std::fs::write(&path, draw(report)?).with_context(|| path.display().to_string())
}

fn draw(report: &Report) -> Result<String> {
    let checks: Vec<_> = report.checks().into_iter().filter(|check| check.unit == "×").collect();
    let rows = i32::try_from(checks.len())?;
    let size = (u32::try_from(WIDTH)?, u32::try_from(TOP + rows * PITCH + 16)?);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let title = "Wasmyard over native Rust, as measured in one run; the mark is the target";
        root.draw(&text(title, (12, 22), HPos::Left))?;
        let longest =
            checks.iter().flat_map(|check| [check.figure, check.target.bound()]).fold(1.0, f64::max);
        let longest = longest.min(LONGEST);
        for (row, check) in (0..).zip(&checks) {
            bar(&root, check, TOP + row * PITCH, longest)?;
        }
        root.present()?;
    }
    // plotters has no way to say this itself.
    let head = svg.find('>').context("an svg element")? + 1;
    svg.insert_str(head, STYLE);
    Ok(svg)
}

fn bar<'a>(
    root: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    check: &Check,
    top: i32,
    longest: f64,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    #[expect(clippy::cast_possible_truncation, reason = "a place within the picture")]
    let at =
        |figure: f64| LABELS + (figure.min(longest) / longest * f64::from(WIDTH - LABELS - FIGURES)) as i32;
    let met = check.target.met(check.figure);
    let middle = top + BAR / 2;
    root.draw(&text(&check.what, (LABELS - 10, middle), HPos::Right))?;
    let corners = [(LABELS, top), (at(check.figure), top + BAR)];
    root.draw(&Rectangle::new(corners, if met { MET } else { MISSED }.filled()))?;
    let target = at(check.target.bound());
    root.draw(&PathElement::new(vec![(target, top - 4), (target, top + BAR + 4)], INK.stroke_width(2)))?;
    let figure = format!("{:.2} ({})", check.figure, check.target);
    root.draw(&text(&figure, (at(check.figure.max(check.target.bound())) + 8, middle), HPos::Left))
}

fn text(words: &str, at: (i32, i32), side: HPos) -> Text<'static, (i32, i32), String> {
    let style = ("sans-serif", 16).into_font().color(&INK).pos(Pos::new(side, VPos::Center));
    Text::new(words.to_owned(), at, style)
}
