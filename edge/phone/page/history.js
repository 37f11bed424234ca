// Stores the answers that the user keeps, and their photos. They are stored in this browser's IndexedDB and nowhere
// else.

const STORE = "answers";

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function store(mode) {
  const request = indexedDB.open("dermedge", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { autoIncrement: true });
  const database = await done(request);
  const transaction = database.transaction(STORE, mode);
  transaction.oncomplete = () => database.close();
  return transaction.objectStore(STORE);
}

// Stores an entry, which contains a photo as a Blob, and the answer for this photo.
export async function keep(entry) {
  await done((await store("readwrite")).add(entry));
}

// Returns all entries, the newest first.
export async function all() {
  return (await done((await store("readonly")).getAll())).reverse();
}

export async function erase() {
  await done((await store("readwrite")).clear());
}

function dataUrl(blob) {
  const reader = new FileReader();
  return new Promise((resolve, reject) => {
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

// Returns a JSON file with all entries. It contains each photo as a data URL.
export async function exported() {
  const answers = await Promise.all((await all()).map(
    async (entry) => ({ ...entry, picture: await dataUrl(entry.picture) })));
  const content = {
    format: "dermedge-phone-history/1", disclaimer: "For research and education only: not a medical device", answers,
  };
  return new Blob([JSON.stringify(content, null, 1)], { type: "application/json" });
}
