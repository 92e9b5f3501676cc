//! A rectangle of a matrix as a picture of few cells.

/// How a cell of several elements is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bin {
    /// The element of largest magnitude, with its sign; of equal ones the first.
    Max,
    /// The mean of all.
    Mean,
}

/// Elements of a row-major matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// `width * height` cells, row-major, over the part `rect` of a matrix of `cols` columns; `row(i, out)` writes the
/// elements from the flattened matrix's `i`th on. Cell (row r, column c) covers rows `r * rect.height / height` up
/// to the next cell's first, and columns likewise.
///
/// # Panics
/// When a rectangle or picture is empty, there are more cells than elements along an axis, or the rectangle
/// sticks out to the right.
#[inline(never)]
pub fn heatmap(
    cols: usize,
    rect: Rect,
    width: usize,
    height: usize,
    bin: Bin,
    row: &mut dyn FnMut(usize, &mut [f32]),
) -> Vec<f32> {
    assert!(width > 0 && height > 0 && width <= rect.width && height <= rect.height, "cells");
    assert!(rect.x + rect.width <= cols, "rectangle");
    let edges: Vec<usize> = (0..=width).map(|c| scale(c, rect.width, width)).collect();
    let mut out = vec![0.0f32; width * height];
    let mut values = vec![0.0f32; rect.width];
    let mut sums = vec![0.0f64; width];
    for (r, cells) in out.chunks_mut(width).enumerate() {
        let rows = scale(r, rect.height, height)..scale(r + 1, rect.height, height);
        let count = rows.len();
        sums.fill(0.0);
        for y in rows {
            row((rect.y + y) * cols + rect.x, &mut values);
            for (c, pair) in edges.windows(2).enumerate() {
                let values = &values[pair[0]..pair[1]];
                match bin {
                    Bin::Max => {
                        let max = |m: f32, &v: &f32| if v.abs() > m.abs() { v } else { m };
                        cells[c] = values.iter().fold(cells[c], max);
                    }
                    Bin::Mean => sums[c] += values.iter().map(|&v| f64::from(v)).sum::<f64>(),
                }
            }
        }
        if bin == Bin::Mean {
            for (c, cell) in cells.iter_mut().enumerate() {
                *cell = (sums[c] / (count * (edges[c + 1] - edges[c])) as f64) as f32;
            }
        }
    }
    out
}

/// `i * a / b` without overflow in 32 bits.
fn scale(i: usize, a: usize, b: usize) -> usize {
    (i as u64 * a as u64 / b as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(
        cols: usize,
        rect: Rect,
        cells: (usize, usize),
        bin: Bin,
        value: impl Fn(usize) -> f32,
    ) -> Vec<f32> {
        let mut row = |start: usize, out: &mut [f32]| {
            (start..).zip(out).for_each(|(i, out)| *out = value(i));
        };
        heatmap(cols, rect, cells.0, cells.1, bin, &mut row)
    }

    #[test]
    fn cells_cover_each_element_once() {
        let (rows, cols) = (7, 10);
        let values: Vec<f32> =
            (0..rows * cols).map(|i| if i % 3 == 0 { -(i as f32) } else { i as f32 }).collect();
        let all = Rect { x: 0, y: 0, width: cols, height: rows };
        assert_eq!(show(cols, all, (cols, rows), Bin::Max, |i| values[i]), values);
        assert_eq!(show(cols, all, (cols, rows), Bin::Mean, |i| values[i]), values);
        assert_eq!(show(cols, all, (1, 1), Bin::Max, |i| values[i]), [-69.0]);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 70.0;
        assert_eq!(show(cols, all, (1, 1), Bin::Mean, |i| values[i]), [mean as f32]);
        for cells in [(3, 2), (4, 7), (10, 1), (9, 5)] {
            let counted = std::cell::RefCell::new(vec![0; 70]);
            let count = |i| {
                counted.borrow_mut()[i] += 1;
                1.0
            };
            assert_eq!(show(cols, all, cells, Bin::Mean, count), vec![1.0; cells.0 * cells.1]);
            assert_eq!(*counted.borrow(), [1; 70]);
        }
    }

    #[test]
    fn a_rectangle_shows_its_own_elements() {
        let rect = Rect { x: 2, y: 1, width: 4, height: 2 };
        // Rows 1 and 2, columns 2 to 5 of a matrix of 6 columns that holds its indices.
        let cells = show(6, rect, (2, 1), Bin::Mean, |i| i as f32);
        assert_eq!(cells, [(8. + 9. + 14. + 15.) / 4., (10. + 11. + 16. + 17.) / 4.]);
        assert_eq!(show(6, rect, (2, 2), Bin::Max, |i| i as f32), [9.0, 11.0, 15.0, 17.0]);
    }
}
