// @ts-check
// What the page remembers between visits. A convenience: where a browser forbids it, nothing is.
export const memory = {
  /** @param {string} key */
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  /** @param {string} key @param {string} value @returns {boolean} whether it is remembered */
  set(key, value) {
    try {
      localStorage.setItem(key, value);
      return true;
    } catch {
      return false; // forbidden, or full
    }
  },
};
