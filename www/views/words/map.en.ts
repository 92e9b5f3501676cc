export const en = {
  text: "Every weight of the tensor is a point, row by row. Drag to choose one: the magnifier shows its block, and the views above follow. Switch between weights, codes and errors.",
  what: "Show",
  layers: { error: "error", weight: "weight", code: "code" },
  takeaway: {
    error: (name: string, median: string, row: string, most: string) => `The rows of ${name} have a median RMSE of ${median}; the largest is ${most}, in row ${row}.`,
    weight: (name: string, largest: string, row: string, std: string) => `The largest weight of ${name} is ${largest}, in row ${row}: ${std} times the tensor's standard deviation.`,
    code: (name: string, row: string, column: string, code: string, block: string) => `The weight at row ${row}, column ${column} of ${name} has level ${code} of 0 to 15 and lies in block ${block}.`,
  },
  caption: {
    error: "largest absolute error in each cell", weight: "weight of largest magnitude in each cell", code: "level of the code in each cell, 0 to 15",
  },
  chart: "Weight under the pointer",
  at: (row: string, column: string, value: string) => `row ${row}, column ${column}: ${value}`,
  magnified: (rows: string, columns: string) => `around the chosen weight: ${rows} rows of ${columns}; its block is framed`,
  row: "Row",
  column: "Column",
  rows: "per row of the tensor",
  columns: { row: "row", absmax: "absmax", mean: "mean", std: "standard deviation", rmse: "RMSE" },
  explain: [
    "Stripes across the map are rows, stripes down it input features with larger weights. Their blocks have a larger absmax, so their errors are larger too.",
    "Blocks run along the rows. In the magnifier the frame shows which weights share a scale.",
  ],
  question: {
    ask: "Where are the errors of a quantized tensor largest?",
    options: ["evenly everywhere", "in blocks that hold a large weight", "where weights are near zero"],
    answer: (row: string, rmse: string, absmax: string) => `Row ${row} has the largest RMSE, ${rmse}, and an absmax of ${absmax}: the scale decides how wide the levels stand.`,
  },
};

export type Words = typeof en;
