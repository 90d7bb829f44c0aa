//! Tables, and names with values, for people.

use burla::Stdout;

/// Writes columns as wide as what is in them.
pub(in crate::commands) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows = rows.map(|row| row.iter().map(|cell| plain(cell)).collect());
    let mut lines = vec![header.iter().map(|&title| title.to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Writes names and values, each on its line.
pub(super) fn rows(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {}\n", plain(value))).collect()
}

/// Names and texts come from whoever joined or opened a job, and are shown on an operator's terminal, each in its row and column.
fn plain(cell: &str) -> String {
    Stdout::neutralized(cell).replace('\n', "␊").replace('\t', "␉")
}

/// Writes a time in the unit that fits.
pub(super) fn time(seconds: f64) -> String {
    match seconds as u64 {
        0..120 => format!("{seconds:.0} s"),
        120..7200 => format!("{:.0} min", seconds / 60.0),
        7200..172_800 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} d", seconds / 86400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["long name", "1"], ["\x1b\n", "22"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&["NAME", "N"], rows.into_iter()), "NAME       N\nlong name  1\n␛␊         22\n");
    }

    #[test]
    fn what_is_known_of_a_job_stays_in_its_row() {
        let text = rows(&[("name", "a\nb\x1b".to_owned()), ("function", "c".to_owned())]);
        assert_eq!(text, "name      a␊b␛\nfunction  c\n");
    }
}
