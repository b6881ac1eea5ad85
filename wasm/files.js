// @ts-check
// Folders of a server in the tab's file system, at the same paths: listed, read and written when the
// script asks, by synchronous requests. A file that is open is in memory; it goes back when it is
// closed. The operations are those of folders.py.

/**
 * Mount the folders and go to the script's working folder.
 *
 * @param {any} pyodide
 * @param {{url: string, roots: string[], cwd: string, maxBytes: number}} options where to ask
 * @returns {() => void} sends back what open files have that the server has not
 */
export function mount(pyodide, { url, roots, cwd, maxBytes }) {
  const { FS, ERRNO_CODES: codes } = pyodide;
  const { MEMFS } = FS.filesystems;
  const changed = new Set(); // nodes of open files with bytes that the server has not

  /** Do an operation of folders.py. @returns {ArrayBuffer} */
  function ask(operation, path, query = {}, body = null) {
    const request = new XMLHttpRequest();
    request.open("POST", `${url}${operation}?${new URLSearchParams({ path, ...query })}`, false);
    request.responseType = "arraybuffer";
    try {
      request.send(body);
    } catch {
      throw new FS.ErrnoError(codes.EIO); // the server is gone
    }
    if (request.status !== 200) {
      throw new FS.ErrnoError(codes[request.getResponseHeader("X-Error") ?? "EIO"] ?? codes.EIO);
    }
    if (!request.response) {
      throw new FS.ErrnoError(codes.ENOMEM);
    }
    return request.response;
  }

  const askJson = (operation, path) => JSON.parse(new TextDecoder().decode(ask(operation, path)));
  const inside = (parent, name) => `${FS.getPath(parent)}/${name}`;

  function create(parent, name, mode) {
    const node = FS.createNode(parent, name, mode, 0);
    node.node_ops = nodeOps;
    node.stream_ops = streamOps;
    return Object.assign(node, { contents: null, usedBytes: 0, users: 0 });
  }

  function save(node) {
    if (changed.delete(node)) {
      ask("write", FS.getPath(node), {}, MEMFS.getFileDataAsTypedArray(node));
    }
  }

  function mustFit(size) {
    if (size > maxBytes) {
      throw new FS.ErrnoError(codes.EFBIG);
    }
  }

  /** The node of a name that was looked up before. */
  function known(parent, name) {
    let node = FS.nameTable[FS.hashName(parent.id, name)];
    while (node && (node.parent !== parent || node.name !== name)) {
      node = node.name_next;
    }
    return node;
  }

  /** A file is gone from the server; a stream may still have it open. */
  function forget(node) {
    changed.delete(node);
    node.removed = true;
  }

  const nodeOps = {
    getattr(node) {
      const found = node.users
        ? { mode: node.mode, size: node.usedBytes, mtime: node.mtime, atime: node.mtime }
        : askJson("stat", FS.getPath(node));
      node.mode = found.mode;
      return {
        dev: 1,
        ino: node.id,
        mode: found.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: found.size,
        atime: new Date(found.atime),
        mtime: new Date(found.mtime),
        ctime: new Date(found.mtime),
        blksize: 4096,
        blocks: Math.ceil(found.size / 512),
      };
    },

    setattr(node, { size, mode, atime, mtime }) {
      if (size !== undefined) {
        mustFit(size);
        if (node.users) {
          MEMFS.resizeFileStorage(node, size);
          changed.add(node);
        } else {
          ask("truncate", FS.getPath(node), { size });
          node.empty = size === 0;
        }
      }
      if (mode !== undefined && mode !== null) {
        node.mode = mode;
        if (node.created) {
          node.created = false; // the server has given a new file its mode
        } else {
          ask("attributes", FS.getPath(node), { mode });
        }
      }
      if (mtime !== undefined && mtime !== null) {
        ask("attributes", FS.getPath(node), { mtime, atime: atime ?? mtime });
      }
    },

    lookup(parent, name) {
      return create(parent, name, askJson("stat", inside(parent, name)).mode);
    },

    mknod(parent, name, mode) {
      if (FS.isDir(mode)) {
        ask("mkdir", inside(parent, name));
        return create(parent, name, mode);
      }
      if (!FS.isFile(mode)) {
        throw new FS.ErrnoError(codes.EPERM);
      }
      ask("write", inside(parent, name));
      return Object.assign(create(parent, name, mode), { created: true, empty: true });
    },

    rename(node, folder, name) {
      ask("rename", FS.getPath(node), { to: inside(folder, name) });
      const replaced = known(folder, name);
      if (replaced) {
        forget(replaced);
        FS.hashRemoveNode(replaced);
      }
      node.name = name;
    },

    unlink(parent, name) {
      ask("unlink", inside(parent, name));
      forget(known(parent, name));
    },

    rmdir(parent, name) {
      ask("rmdir", inside(parent, name));
    },

    readdir(node) {
      const names = askJson("list", FS.getPath(node));
      for (const [name, folder] of Object.entries(names)) {
        if (!known(node, name)) {
          create(node, name, folder ? 0o40777 : 0o100666); // getattr learns the rest
        }
      }
      return [".", "..", ...Object.keys(names)];
    },
  };

  const streamOps = {
    open(stream) {
      const { node } = stream;
      if (!FS.isFile(node.mode)) {
        return;
      }
      try {
        if (!node.users && !node.empty) {
          node.contents = new Uint8Array(ask("read", FS.getPath(node)));
          node.usedBytes = node.contents.length;
        }
      } catch (error) {
        FS.closeStream(stream.fd);
        throw error;
      }
      node.mtime ??= Date.now();
      node.users += 1;
    },

    dup(stream) {
      stream.node.users += 1;
    },

    close({ node }) {
      if (!FS.isFile(node.mode)) {
        return;
      }
      try {
        save(node);
      } finally {
        node.users -= 1;
        if (!node.users) {
          Object.assign(node, { contents: null, usedBytes: 0, empty: false });
        }
      }
    },

    fsync({ node }) {
      save(node);
      return 0;
    },

    write(stream, buffer, offset, length, position) {
      mustFit(position + length);
      if (length && !stream.node.removed) {
        changed.add(stream.node);
      }
      return MEMFS.stream_ops.write(stream, buffer, offset, length, position, false);
    },

    msync(stream, buffer, offset, length) {
      streamOps.write(stream, buffer, 0, length, offset);
      return 0;
    },

    read: MEMFS.stream_ops.read,
    llseek: MEMFS.stream_ops.llseek,
    mmap: MEMFS.stream_ops.mmap,
  };

  const type = { mount: () => create(null, "/", 0o40777) };
  for (const root of roots) {
    FS.mkdirTree(root);
    FS.mount(type, {}, root);
  }
  FS.chdir(cwd);
  return () => changed.forEach(save);
}
