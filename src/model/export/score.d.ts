/** What a feature can be. Booleans count as 1 and 0; null counts as missing, and so does a text unless the model knows it as a category. */
export type Feature = number | string | boolean | null;

/** `payload.features` of an event. */
export type Features = { readonly [key: string]: Feature };

/** `source` of an event: its kind, or an object. */
export type Source = string | { readonly kind?: string; readonly region?: string };

/** The parts of an event that are read. Neither it nor its consent is checked. */
export interface Event {
  readonly event_id: string;
  readonly source?: Source;
  readonly payload: { readonly features?: Features };
}

/** What `madmall predict` says of an event. */
export interface Score {
  event_id: string;
  log_odds: number;
  positive: string;
  probability: number;
}

/** The model's tables. */
export declare const MODEL: {
  readonly positive: string;
  readonly negative: string;
  readonly columns: readonly string[];
  readonly weights: readonly number[];
  readonly bias: number;
};

/** A number for each of `MODEL.columns`. */
export declare function row(features?: Features, source?: Source): Float64Array;

/** The log odds of `MODEL.positive`. Throws a RangeError where they are beyond a double. */
export declare function logOdds(features?: Features, source?: Source): number;

/** The probability of `MODEL.positive`. */
export declare function probability(features?: Features, source?: Source): number;

/** Scores an event. */
export declare function score(event: Event): Score;
