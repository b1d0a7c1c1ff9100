
/** The number at a feature, or undefined where it is missing: absent, null or a text. */
function number(value) {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new RangeError("a feature is not a finite number");
    return value;
  }
  if (value === undefined || value === null || typeof value === "string") return undefined;
  throw new TypeError("a feature is a number, a text, a boolean or null");
}

function own(features, key) {
  return Object.hasOwn(features, key) ? features[key] : undefined;
}

/** A number for each of MODEL.columns. */
export function row(features = {}, source = undefined) {
  const columns = new Float64Array(MODEL.columns.length);
  for (const { key, range, impute, scaling, column, indicator } of MODEL.numbers) {
    let value = number(own(features, key));
    if (value !== undefined && range !== null && !(value >= range[0] && value <= range[1])) value = undefined;
    if (indicator !== null) columns[indicator] = value === undefined ? 1 : 0;
    if (value === undefined) value = impute;
    columns[column] = scaling === null ? value : (value - scaling[0]) / scaling[1];
  }
  const where = typeof source === "string" ? { kind: source } : (source ?? {});
  for (const { of, key, levels, columns: places } of MODEL.categories) {
    const value = of === "feature" ? own(features, key) : own(where, of);
    const text = typeof value === "string" ? value : number(value);
    const level = text === undefined ? -1 : levels.indexOf(String(text));
    if (level >= 0) columns[places[level]] = 1;
  }
  for (const [a, b, column] of MODEL.products) columns[column] = columns[a] * columns[b];
  return columns;
}

/** The log odds of MODEL.positive. */
export function logOdds(features = {}, source = undefined) {
  const columns = row(features, source);
  let sum = 0;
  for (let j = 0; j < columns.length; j++) {
    let value = columns[j];
    if (MODEL.standardise !== null) value = (value - MODEL.standardise[j][0]) / MODEL.standardise[j][1];
    sum += MODEL.weights[j] * value;
  }
  sum += MODEL.bias;
  if (!Number.isFinite(sum)) throw new RangeError("the weighted sum of the features is beyond a double");
  return sum;
}

/** The probability of MODEL.positive. */
export function probability(features = {}, source = undefined) {
  return logistic(logOdds(features, source));
}

/** What `madmall predict` says of an event. */
export function score(event) {
  const odds = logOdds(event.payload.features, event.source);
  return { event_id: event.event_id, log_odds: odds, positive: MODEL.positive, probability: logistic(odds) };
}

function logistic(odds) {
  const small = Math.exp(-Math.abs(odds));
  return odds >= 0 ? 1 / (1 + small) : small / (1 + small);
}
