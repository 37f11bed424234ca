// Stores the answers that the user keeps, and their photos. They are stored in this browser's IndexedDB and nowhere
// else.

const STORE = "answers";

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

// Runs one request on the stored entries, and returns its result. Throws an error if the browser cannot finish the
// transaction. The browser writes an entry only after the request has succeeded, and the disk can then be too full.
async function within(mode, makeRequest) {
  const opening = indexedDB.open("dermedge", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { autoIncrement: true });
  const database = await done(opening);
  try {
    const transaction = database.transaction(STORE, mode);
    const request = makeRequest(transaction.objectStore(STORE));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    return request.result;
  } finally {
    database.close();
  }
}

// Stores an entry, which contains a photo as a Blob, and the answer for this photo.
export async function keep(entry) {
  await within("readwrite", (store) => store.add(entry));
}

// Returns all entries, the newest first.
export async function all() {
  return (await within("readonly", (store) => store.getAll())).reverse();
}

export async function erase() {
  await within("readwrite", (store) => store.clear());
}

function dataUrl(blob) {
  const reader = new FileReader();
  return new Promise((resolve, reject) => {
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

// Returns a JSON file with all entries. It contains each photo as a data URL, or an empty text if the browser cannot
// read the photo any more.
export async function exported() {
  const answers = await Promise.all((await all()).map(
    async (entry) => ({ ...entry, picture: await dataUrl(entry.picture).catch(() => "") })));
  const content = {
    format: "dermedge-phone-history/1", disclaimer: "For research and education only: not a medical device", answers,
  };
  return new Blob([JSON.stringify(content, null, 1)], { type: "application/json" });
}
