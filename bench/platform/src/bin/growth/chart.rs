//! The growth as a drawing: a panel for each measure, a point for each host.

use std::path::Path;

use plotters::prelude::*;

use crate::Growth;

const SIZE: (u32, u32) = (960, 560);
/// Read as well on white as on black.
const TEXT: RGBColor = RGBColor(128, 128, 128);
const GRID: RGBAColor = RGBAColor(128, 128, 128, 0.25);

/// A measure: its title, its colour, and where it stands in the results.
type Panel = (&'static str, RGBColor, fn(&Growth) -> f64);

const PANELS: [Panel; 6] = [
    ("Memory at rest, MiB", RGBColor(76, 132, 255), |growth| growth.memory_rest_mib),
    ("Start, compiled code on disk, ms", RGBColor(230, 126, 34), |growth| growth.start_ms),
    ("Deploy of one service, ms", RGBColor(155, 89, 222), |growth| growth.deploy_ms),
    ("The busy service, requests a second", RGBColor(39, 174, 96), |growth| growth.requests_per_second),
    ("Its p99, ms", RGBColor(231, 76, 60), |growth| growth.p99_ms),
    ("Its CPU a request, µs", RGBColor(22, 160, 170), |growth| growth.cpu_us_per_request),
];

/// Draws all panels. The services stand on a logarithmic axis, the measures on a straight
/// one from zero.
pub(crate) fn draw(path: &Path, grown: &[Growth]) -> anyhow::Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let most = grown.last().map_or(1, |growth| growth.services) as f64;
    for (area, (title, colour, measure)) in root.split_evenly((2, 3)).iter().zip(PANELS) {
        let points: Vec<(f64, f64)> =
            grown.iter().map(|growth| (growth.services as f64, measure(growth))).collect();
        let top = points.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max) * 1.15;
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 14).into_font().color(&TEXT))
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d((1.0..most).log_scale(), 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(("sans-serif", 11).into_font().color(&TEXT))
            .x_label_formatter(&|services| format!("{services:.0}"))
            .y_labels(5)
            .draw()?;
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    root.present()?;
    Ok(())
}
