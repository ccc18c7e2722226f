"""A detector that sees everything: objects are rectangles of colors of their own, the color's
hundreds are the class."""

import numpy as np


def paint(size, boxes, labels):
    """uint8 (height, width, 3) with rectangles that `Perfect` finds."""
    pixels = np.zeros((*size, 3), "uint8")
    for i, ((x0, y0, x1, y1), label) in enumerate(zip(boxes, labels), start=1):
        pixels[y0:y1, x0:x1] = (10 + label, i // 250, i % 250)
    return pixels


class Perfect:
    """With the attributes and the `predict` of a detector, and an exact answer."""

    def __init__(self, image_size, class_names, max_detections=100):
        self.image_size, self.class_names = image_size, tuple(class_names)
        self.num_classes, self.max_detections = len(class_names), max_detections
        self.resize = "letterbox"

    def get_config(self):
        return {}

    def predict(self, batches, verbose=0):
        images = batches if isinstance(batches, np.ndarray) else [x for b in batches for x in b[0]]
        found = [self.find(np.asarray(image)) for image in images]
        most = self.max_detections
        boxes, labels = np.zeros((len(found), most, 4)), np.full((len(found), most), -1)
        scores, count = np.zeros((len(found), most)), np.zeros(len(found), int)
        for i, each in enumerate(found):
            n = count[i] = min(most, len(each["boxes"]))
            boxes[i, :n], labels[i, :n] = each["boxes"][:n], each["labels"][:n]
            scores[i, :n] = each["scores"][:n]
        return {"boxes": boxes, "labels": labels, "scores": scores, "count": count}

    def detect(self, picture, score_threshold=0.3, tile=None, overlap=0.2):
        found = self.find(picture)
        return found | {"class_names": [self.class_names[k] for k in found["labels"]]}

    @staticmethod
    def find(pixels):
        """Every color's box."""
        pixels = np.rint(pixels).astype(int)
        codes = (pixels[..., 0] * 250 + pixels[..., 1]) * 250 + pixels[..., 2]
        painted = (pixels[..., 0] >= 10) & (pixels[..., 0] < 100)
        boxes, labels = [], []
        for code in np.unique(codes[painted]):
            rows, columns = np.nonzero(codes == code)
            boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            labels.append(code // 62500 - 10)
        boxes = np.array(boxes, "float32").reshape(-1, 4)
        scores = np.linspace(0.9, 0.5, len(boxes)).astype("float32")
        return {"boxes": boxes, "labels": np.array(labels, int), "scores": scores}
