/** The entropy device keeps nothing between requests, and a saved stream of random numbers would be a mistake. */
export type RngState = null;
