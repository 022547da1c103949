//! Fewer points, the same picture.
//!
//! Two ways, chosen by what the curve is: [`within`] drops points that lie within a given distance
//! on paper of the last one kept (curves that rise, such as CDFs), [`min_max`] keeps the extremes of
//! equal slices of x (noisy series, whose peaks must not be averaged away).

/// Keeps the first and the last point and each that lies at least `distance` (in the units of
/// `place`, along x plus along y) from the last one kept. Before a jump the point it starts from is
/// kept too, so that steps stay upright.
pub(crate) fn within(
    points: &[(f64, f64)],
    distance: u32,
    place: impl Fn((f64, f64)) -> (i32, i32),
) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let mut last = (0, 0);
    let mut skipped: Option<(f64, f64)> = None;
    for &point in points {
        let here = place(point);
        let moved = here
            .0
            .abs_diff(last.0)
            .saturating_add(here.1.abs_diff(last.1));
        if kept.is_empty() || moved >= distance {
            if let Some(before) = skipped.take() {
                let from = place(before);
                let jump = here
                    .0
                    .abs_diff(from.0)
                    .saturating_add(here.1.abs_diff(from.1));
                if jump >= distance {
                    kept.push(before);
                }
            }
            kept.push(point);
            last = here;
        } else {
            skipped = Some(point);
        }
    }
    kept.extend(skipped);
    kept
}

/// At most about `most` points: of each slice of equally many points the lowest and the highest, in
/// their order. The first and the last point are kept. Few points are returned as they are.
pub(crate) fn min_max(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most.max(4) {
        return points.to_vec();
    }
    let slices = (most.max(4) - 2) / 2;
    let inner = &points[1..points.len() - 1];
    let mut kept = vec![points[0]];
    for i in 0..slices {
        let slice = &inner[inner.len() * i / slices..inner.len() * (i + 1) / slices];
        let Some(&first) = slice.first() else {
            continue;
        };
        let (mut low, mut high) = ((0, first), (0, first));
        for (at, &point) in slice.iter().enumerate() {
            if point.1 < low.1.1 {
                low = (at, point);
            }
            if point.1 > high.1.1 {
                high = (at, point);
            }
        }
        kept.push(if low.0 <= high.0 { low.1 } else { high.1 });
        if low.0 != high.0 {
            kept.push(if low.0 <= high.0 { high.1 } else { low.1 });
        }
    }
    kept.push(points[points.len() - 1]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_max_keeps_ends_and_extremes() {
        let mut points: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), 0.0)).collect();
        points[1234].1 = 9.0;
        points[4321].1 = -9.0;
        let kept = min_max(&points, 100);
        assert!(kept.len() <= 100, "{}", kept.len());
        for point in [points[0], points[1234], points[4321], points[4999]] {
            assert!(kept.contains(&point), "{point:?}");
        }
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn near_points_go_and_jumps_stay() {
        let points = [
            (0.0, 0.0),
            (1.0, 0.0),
            (2.0, 0.0),
            (2.0, 50.0),
            (2.0, 51.0),
            (3.0, 51.0),
        ];
        let kept = within(&points, 10, |(x, y)| (x as i32, y as i32));
        assert_eq!(kept, [(0.0, 0.0), (2.0, 0.0), (2.0, 50.0), (3.0, 51.0)]);
    }
}
