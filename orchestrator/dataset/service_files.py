"""What operating systems, NAS systems and photo managers leave among photographs.

Thumbnails, waste baskets and databases: none of it is a photograph or a label.
"""

import re

_FOLDERS = (
    # Synology, QNAP, NetApp
    "@eaDir", "#recycle", "#snapshot", "@SynoResource", "@tmp", "@sharebin",
    "@Recycle", "@Recently-Snapshot", ".@__thumb", ".@__qini", "Network Trash Folder", ".snapshot",
    # Windows
    "$RECYCLE.BIN", "RECYCLER", "RECYCLED", "System Volume Information",
    # macOS
    "__MACOSX", ".AppleDouble", ".AppleDB", ".AppleDesktop", ".Spotlight-V100", ".Trashes",
    ".fseventsd", ".TemporaryItems", "Temporary Items", ".DocumentRevisions-V100",
    # Linux, Android
    "lost+found", ".Trash", ".thumbnails",
    # Picasa, digiKam, Dropbox, Syncthing
    ".picasaoriginals", ".dtrash", ".dropbox.cache", ".stversions",
)  # fmt: skip
_FILES = (
    "Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".DS_Store", ".localized",
    ".directory", ".nomedia", ".picasa.ini", "Picasa.ini", "SYNOINDEX_MEDIA_INFO",
)  # fmt: skip
# Lightroom keeps previews in folders with these endings, the photo managers of macOS everything.
_LIBRARY_ENDINGS = (
    ".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary",
)  # fmt: skip
_FOLDER_ENDINGS = (".lrdata", ".lrcat-data", ".lrlibrary", *_LIBRARY_ENDINGS)
# Files that are deleted or not whole yet: of macOS, Synology, Android, NFS, FUSE and Samba.
_FILE_STARTS = ("._", "SYNOPHOTO_", ".trashed-", ".pending-", ".nfs0", ".fuse_hidden", ".smbdelete")
# Where a library of macOS keeps the photographs themselves.
_LIBRARY_ORIGINALS = ("originals", "masters")

_NAMED_FOLDERS = {name.casefold(): f"{name}/" for name in _FOLDERS}
_NAMED_FILES = {name.casefold(): name for name in _FILES}
_TRASH = re.compile(r"\.Trash-\d+")


def name_service_folder(name: str) -> str | None:
    """Return the kind under which a folder is ignored, None for one that is searched.

    Names are bounded in number: ``@eaDir/``, ``*.lrdata/``.
    """
    folded = name.casefold()
    if known := _NAMED_FOLDERS.get(folded):
        return known
    if _TRASH.fullmatch(name):
        return f"{name}/"
    ending = next((end for end in _FOLDER_ENDINGS if folded.endswith(end)), None)
    return ending and f"*{ending}/"


def name_service_file(name: str) -> str | None:
    """Return the kind under which a file is ignored by its name alone, else None."""
    if known := _NAMED_FILES.get(name.casefold()):
        return known
    if not name.startswith(_FILE_STARTS):
        return None
    return next(f"{start}*" for start in _FILE_STARTS if name.startswith(start))


def name_library_folder(library: str, name: str) -> str | None:
    """Return the kind under which a folder of a photo library is ignored, None for the originals.

    Args:
        library: Name of the folder that is scanned; for one that is no library None too.
    """
    if not library.casefold().endswith(_LIBRARY_ENDINGS) or name.casefold() in _LIBRARY_ORIGINALS:
        return None
    return "folders of the photo library"
